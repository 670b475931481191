//! The control stream: typed messages both ways on one bidirectional stream.

use std::{marker::PhantomData, time::Duration};

use quinn::{Connection, RecvStream, SendStream};

use crate::{
    close::{CloseCode, Lost, StopCode, close},
    enrol::{EnrolReply, EnrolRequest},
    frame::{FrameError, FrameReader, FrameWriter, Message, ReceiveError, SecaggLimit},
    message::{CoordinatorMessage, NodeMessage},
};

/// The node's end: sends [`NodeMessage`], receives [`CoordinatorMessage`].
pub type NodeChannel = ControlChannel<NodeMessage, CoordinatorMessage>;

/// The coordinator's end: sends [`CoordinatorMessage`], receives [`NodeMessage`].
pub type CoordinatorChannel = ControlChannel<CoordinatorMessage, NodeMessage>;

/// The enrolling node's end.
pub type EnrolNodeChannel = ControlChannel<EnrolRequest, EnrolReply>;

/// The enrolling coordinator's end.
pub type EnrolCoordinatorChannel = ControlChannel<EnrolReply, EnrolRequest>;

/// One end of the control stream.
#[derive(Debug)]
pub struct ControlChannel<Out, In> {
    sender: ControlSender<Out>,
    receiver: ControlReceiver<In>,
}

impl<Out: Message, In: Message> ControlChannel<Out, In> {
    /// The node's side: opens the stream. The other side sees it with the first message.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn open(connection: &Connection) -> Result<Self, ChannelError> {
        let (send, receive) = connection.open_bi().await.map_err(Lost::from)?;
        Ok(Self::over(connection, send, receive))
    }

    /// The coordinator's side: waits at most `timeout` until the node opens the stream.
    ///
    /// # Errors
    /// When the connection is lost or the node opens none in time.
    pub async fn accept(connection: &Connection, timeout: Duration) -> Result<Self, ChannelError> {
        let (send, receive) = tokio::time::timeout(timeout, connection.accept_bi())
            .await
            .map_err(|_| ChannelError::TimedOut)?
            .map_err(Lost::from)?;
        Ok(Self::over(connection, send, receive))
    }

    /// Sends one message; see [`ControlSender::send`].
    ///
    /// # Errors
    /// When the message is too long or the connection is lost.
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        self.sender.send(message).await
    }

    /// The next message; see [`ControlReceiver::receive`].
    ///
    /// # Errors
    /// When the connection is lost or ended, or what came is no message.
    pub async fn receive(&mut self) -> Result<In, ChannelError> {
        self.receiver.receive().await
    }

    /// The next message, if it comes within `timeout`.
    ///
    /// # Errors
    /// See [`receive`](Self::receive); [`ChannelError::TimedOut`].
    pub async fn receive_within(&mut self, timeout: Duration) -> Result<In, ChannelError> {
        self.receiver.receive_within(timeout).await
    }

    /// The longest secagg message that this end accepts; starts at 0.
    #[must_use]
    pub fn limit(&self) -> &SecaggLimit {
        self.receiver.limit()
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.sender.connection
    }

    /// Both halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (ControlSender<Out>, ControlReceiver<In>) {
        (self.sender, self.receiver)
    }

    fn over(connection: &Connection, send: SendStream, receive: RecvStream) -> Self {
        let limit = SecaggLimit::new();
        Self {
            sender: ControlSender {
                connection: connection.clone(),
                writer: FrameWriter::new(send),
                message: PhantomData,
            },
            receiver: ControlReceiver {
                connection: connection.clone(),
                reader: FrameReader::new(receive, limit.clone()),
                limit,
                message: PhantomData,
            },
        }
    }
}

/// The sending half of a control stream.
#[derive(Debug)]
pub struct ControlSender<Out> {
    connection: Connection,
    writer: FrameWriter<SendStream>,
    message: PhantomData<fn(Out)>,
}

impl<Out: Message> ControlSender<Out> {
    /// Sends one message. Waits while the other side reads nothing: give it a deadline of your own.
    /// Not cancel-safe: after a dropped call, close the connection.
    ///
    /// # Errors
    /// [`ChannelError::Frame`] when the message is longer than the other side would accept, nothing
    /// was sent then; [`ChannelError::Lost`] with the other side's reason.
    pub async fn send(&mut self, message: &Out) -> Result<(), ChannelError> {
        self.writer
            .write(message)
            .await
            .map_err(|error| classify(&self.connection, error))
    }

    /// Ends the stream and waits until the other side has everything. Call it before closing a
    /// connection after a last message.
    ///
    /// # Errors
    /// When the connection is lost first.
    pub async fn finish(self) -> Result<(), ChannelError> {
        let mut stream = self.writer.into_inner();
        if stream.finish().is_err() {
            return Ok(());
        }
        match stream.stopped().await {
            Ok(_) => Ok(()),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(Lost::from(error).into()),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(ChannelError::Ended),
        }
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// The receiving half of a control stream.
#[derive(Debug)]
pub struct ControlReceiver<In> {
    connection: Connection,
    reader: FrameReader<RecvStream>,
    limit: SecaggLimit,
    message: PhantomData<fn() -> In>,
}

impl<In: Message> ControlReceiver<In> {
    /// The next message. Cancel-safe.
    ///
    /// # Errors
    /// [`ChannelError::Frame`] when what came is no message (answer with
    /// [`ChannelError::close`]), [`ChannelError::Ended`] when the other side ended the stream,
    /// [`ChannelError::Lost`] with the other side's reason.
    pub async fn receive(&mut self) -> Result<In, ChannelError> {
        match self.reader.read().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(ChannelError::Ended),
            Err(error) => Err(classify(&self.connection, error)),
        }
    }

    /// The next message, if it comes within `timeout`. Cancel-safe.
    ///
    /// # Errors
    /// See [`receive`](Self::receive); [`ChannelError::TimedOut`].
    pub async fn receive_within(&mut self, timeout: Duration) -> Result<In, ChannelError> {
        tokio::time::timeout(timeout, self.receive())
            .await
            .map_err(|_| ChannelError::TimedOut)?
    }

    /// The longest secagg message that is accepted; starts at 0.
    #[must_use]
    pub fn limit(&self) -> &SecaggLimit {
        &self.limit
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Why a control stream brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// What came is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side ended the stream without closing the connection.
    #[error("the other side ended the control stream")]
    Ended,
    /// The other side abandoned the stream.
    #[error("the other side abandoned the control stream: {0}")]
    Abandoned(StopCode),
    /// Nothing came in time.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// The connection is no more.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl ChannelError {
    /// The code with which to close a connection after this error.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::Frame(error) => CloseCode::for_frame(error),
            Self::Ended | Self::Abandoned(_) | Self::Lost(_) => CloseCode::Done,
            Self::TimedOut => CloseCode::Timeout,
        }
    }

    /// Closes the connection with the fitting code and this error as the reason.
    pub fn close(&self, connection: &Connection) {
        close(connection, self.close_code(), &self.to_string());
    }
}

/// Why a stream failed, from the stream's or the connection's own error.
fn classify(connection: &Connection, error: ReceiveError) -> ChannelError {
    let error = match error {
        ReceiveError::Frame(error) => return error.into(),
        ReceiveError::Io(error) => error,
    };
    if let Some(reason) = connection.close_reason() {
        return Lost::from(reason).into();
    }
    let inner = error.get_ref();
    if let Some(quinn::ReadError::Reset(code)) = inner.and_then(|error| error.downcast_ref()) {
        return ChannelError::Abandoned(StopCode::from_number(code.into_inner()));
    }
    if let Some(quinn::WriteError::Stopped(code)) = inner.and_then(|error| error.downcast_ref()) {
        return ChannelError::Abandoned(StopCode::from_number(code.into_inner()));
    }
    ChannelError::Ended
}
