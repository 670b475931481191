//! The user's wish to end.

use tokio::sync::watch;

/// Becomes true once.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Says that the node is to end; without it, the node runs on.
#[derive(Debug)]
pub struct ShutdownSender(watch::Sender<bool>);

impl Shutdown {
    /// A wish that is not expressed yet.
    #[must_use]
    pub fn new() -> (ShutdownSender, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownSender(sender), Self(receiver))
    }

    /// Waits until the node is to end.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|wished| *wished).await.is_err() {
            // Nobody is left who could express it.
            std::future::pending::<()>().await;
        }
    }
}

impl ShutdownSender {
    /// Asks the node to end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}
