//! The connection of a node that joins.

use secagg_wire::{
    channel::EnrolCoordinatorChannel,
    close::{CloseCode, close},
    endpoint::Peer,
    enrol::EnrolReply,
};
use serde_json::json;

use super::{Refusal, Shared};
use crate::store::unix_now;

pub(super) async fn serve(shared: &Shared, peer: Peer) -> Result<(), Refusal> {
    let patience = shared.config.network.timeouts.handshake;
    let mut channel = EnrolCoordinatorChannel::accept(&peer.connection, patience).await?;
    let request = channel.receive_within(patience).await?;
    let enrolled = match request.verify(&peer.fingerprint, &shared.fingerprint) {
        Err(refusal) => Err(refusal),
        Ok(()) => {
            let token = request.token_secret.hash();
            let (key, name) = (request.identity_key, request.name.clone());
            shared
                .store
                .with(move |store| store.enrol(&token, &key, &peer.fingerprint, &name, unix_now()))
                .await?
        }
    };
    let reply = match &enrolled {
        Ok(node) => EnrolReply::Enrolled {
            client_id: *node.client.as_bytes(),
            federation: shared.federation.clone(),
        },
        Err(reason) => EnrolReply::Refused {
            reason: reason.clone(),
        },
    };
    if let Ok(node) = &enrolled {
        let fields = json!({ "client": node.client.to_string(), "name": node.name });
        shared.events.event("enrolled", fields);
    }
    // What the node has or has not read changes nothing: it is registered or it is not.
    let (mut sender, _receiver) = channel.split();
    let _ = tokio::time::timeout(patience, async {
        sender.send(&reply).await?;
        sender.finish().await
    })
    .await;
    match enrolled {
        Ok(_) => {
            close(&peer.connection, CloseCode::Done, "");
            Ok(())
        }
        Err(refusal) => Err(Refusal::new(CloseCode::EnrolmentRefused, refusal)),
    }
}
