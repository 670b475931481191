//! Large transfers over loopback: progress, flow control, stalls, and what is refused.

use std::time::Duration;

use crate::common::{PATIENCE, Pair, pair};
use bytes::Bytes;
use secagg_wire::{
    close::{CloseCode, Lost, StopCode, close},
    digest::{Digest, FileDigest},
    endpoint::STREAM_WINDOW,
    frame::{self, FrameError},
    tls::Alpn,
    transfer::{
        Incoming, IncomingFile, IncomingMasked, Outgoing, Progress, StreamHeader, TransferError,
        accept_stream, send_file, send_masked,
    },
};

fn ignore(_: Progress) {}

fn pattern(len: usize) -> Bytes {
    (0..len)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect::<Vec<_>>()
        .into()
}

async fn connected() -> Pair {
    pair(Alpn::Participate).await
}

async fn incoming(connection: &quinn::Connection) -> Incoming {
    accept_stream(connection)
        .await
        .unwrap()
        .header(PATIENCE)
        .await
        .unwrap()
}

async fn masked(connection: &quinn::Connection) -> IncomingMasked {
    match incoming(connection).await {
        Incoming::Masked(masked) => masked,
        other => panic!("{other:?}"),
    }
}

async fn file(connection: &quinn::Connection) -> IncomingFile {
    match incoming(connection).await {
        Incoming::File(file) => file,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_masked_vector_goes_up_with_progress_on_both_sides() {
    let pair = connected().await;
    let vector = pattern(1 << 20);
    let total = vector.len() as u64;
    let node = pair.node.connection.clone();
    let sender = tokio::spawn({
        let vector = vector.clone();
        async move {
            let mut seen = Vec::new();
            send_masked(&node, 7, 2, vector, |progress| seen.push(progress))
                .await
                .unwrap();
            seen
        }
    });
    let upload = masked(&pair.coordinator.connection).await;
    assert_eq!((upload.round(), upload.attempt()), (7, 2));
    let mut received = Vec::new();
    let bytes = upload
        .receive(vector.len(), PATIENCE, |progress| received.push(progress))
        .await
        .unwrap();
    assert_eq!(bytes, vector);
    assert_eq!(bytes.capacity(), vector.len());
    for seen in [sender.await.unwrap(), received] {
        assert!(seen.len() > 8);
        assert!(seen.is_sorted_by(|a, b| a.done < b.done));
        assert_eq!(seen.last(), Some(&Progress { done: total, total }));
    }
}

#[tokio::test]
async fn a_file_goes_down_and_is_checked() {
    let pair = connected().await;
    let bytes = pattern(300_000);
    let expected = FileDigest::of(&bytes);
    let coordinator = pair.coordinator.connection.clone();
    let sender = tokio::spawn({
        let bytes = bytes.clone();
        async move { send_file(&coordinator, expected, bytes, ignore).await }
    });
    let arriving = file(&pair.node.connection).await;
    assert_eq!(arriving.file(), expected);
    let received = arriving
        .receive(&expected, 1 << 20, PATIENCE, ignore)
        .await
        .unwrap();
    assert_eq!(received, bytes);
    sender.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_empty_vector_arrives_too() {
    let pair = connected().await;
    let node = pair.node.connection.clone();
    let sender = tokio::spawn(async move { send_masked(&node, 1, 0, Bytes::new(), ignore).await });
    let upload = masked(&pair.coordinator.connection).await;
    assert!(
        upload
            .receive(0, PATIENCE, ignore)
            .await
            .unwrap()
            .is_empty()
    );
    sender.await.unwrap().unwrap();
}

/// The sender gets rid of one window and of nothing more, however long it waits.
#[tokio::test]
async fn a_receiver_that_does_not_read_holds_its_sender_back() {
    let pair = connected().await;
    let vector = pattern(4 << 20);
    let mut outgoing = Outgoing::masked(&pair.node.connection, 1, 0, vector.clone())
        .await
        .unwrap();
    let upload = masked(&pair.coordinator.connection).await;

    // Send until the sender is held: it stays held for as long as nobody reads, however many more
    // datagrams pass. That they do pass is seen by a second stream that comes and goes.
    let mut taken = 0;
    for echo in 0..20 {
        let sending = outgoing.send_until(vector.len(), ignore);
        let coordinator = &pair.coordinator.connection;
        let other = async {
            let bytes = pattern(1000 + echo);
            let sent = send_masked(&pair.node.connection, 2, 0, bytes.clone(), ignore);
            let received = async {
                masked(coordinator)
                    .await
                    .receive(bytes.len(), PATIENCE, ignore)
                    .await
                    .unwrap()
            };
            let (sent, received) = tokio::join!(sent, received);
            sent.unwrap();
            assert_eq!(received, bytes);
        };
        tokio::select! {
            done = sending => panic!("the sender was not held: {done:?}"),
            () = other => {}
        }
        taken = outgoing.progress().done;
    }
    // The stream's window, less the header that travelled in it, is all that was taken.
    let window = u64::from(STREAM_WINDOW);
    assert!((window - 64..window).contains(&taken), "{taken}");
    let crossed = pair.coordinator.connection.stats().udp_rx.bytes;
    assert!(crossed < 2 * window, "{crossed}");

    // Once it is read, all of it comes.
    let (sent, received) = tokio::join!(
        outgoing.finish(ignore),
        upload.receive(vector.len(), PATIENCE, ignore)
    );
    sent.unwrap();
    assert_eq!(received.unwrap(), vector);
}

#[tokio::test]
async fn a_stalled_upload_times_out_and_its_sender_is_told() {
    let pair = connected().await;
    let vector = pattern(1 << 20);
    let mut outgoing = Outgoing::masked(&pair.node.connection, 1, 0, vector.clone())
        .await
        .unwrap();
    let upload = masked(&pair.coordinator.connection).await;
    outgoing.send_until(100_000, ignore).await.unwrap();
    let stall = Duration::from_millis(200);
    match upload.receive(vector.len(), stall, ignore).await {
        Err(TransferError::Stalled { done, total }) => {
            assert!(done <= 100_000, "{done}");
            assert_eq!(total, 1 << 20);
        }
        other => panic!("{other:?}"),
    }
    match outgoing.finish(ignore).await {
        Err(TransferError::Stopped(code)) => assert_eq!(code, StopCode::Stalled),
        other => panic!("{other:?}"),
    }
}

/// A byte now and then is no progress: it would hold one of the few slots for ever.
#[tokio::test]
async fn a_trickle_counts_as_a_stall() {
    let pair = connected().await;
    let mut outgoing = Outgoing::masked(&pair.node.connection, 1, 0, pattern(1 << 20))
        .await
        .unwrap();
    let upload = masked(&pair.coordinator.connection).await;
    let trickle = tokio::spawn(async move {
        for end in 1.. {
            if let Err(error) = outgoing.send_until(end, ignore).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("the range has no end")
    });
    match upload
        .receive(1 << 20, Duration::from_millis(300), ignore)
        .await
    {
        Err(TransferError::Stalled { done, .. }) => assert!(done < 4096, "{done}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        trickle.await.unwrap(),
        TransferError::Stopped(StopCode::Stalled)
    ));
}

#[tokio::test]
async fn a_silent_stream_gives_up_its_place() {
    let pair = connected().await;
    let mut stream = pair.node.connection.open_uni().await.unwrap();
    stream.write_all(&[1]).await.unwrap();
    let silent = accept_stream(&pair.coordinator.connection).await.unwrap();
    assert!(matches!(
        silent.header(Duration::from_millis(50)).await,
        Err(TransferError::Stalled { done: 0, total: 0 })
    ));
    assert_eq!(
        stream
            .stopped()
            .await
            .unwrap()
            .map(|code| StopCode::from_number(code.into_inner())),
        Some(StopCode::Stalled)
    );
}

#[tokio::test]
async fn another_length_than_the_sessions_is_refused_before_anything_is_allocated() {
    let pair = connected().await;
    let mut stream = pair.node.connection.open_uni().await.unwrap();
    let header = StreamHeader::Masked {
        round: 1,
        attempt: 0,
        len: u64::MAX,
    };
    stream
        .write_all(&frame::encode(&header).unwrap())
        .await
        .unwrap();
    match masked(&pair.coordinator.connection)
        .await
        .receive(1000, PATIENCE, ignore)
        .await
    {
        Err(TransferError::WrongLength { len, expected }) => {
            assert_eq!((len, expected), (u64::MAX, 1000));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        stream
            .stopped()
            .await
            .unwrap()
            .map(|code| StopCode::from_number(code.into_inner())),
        Some(StopCode::WrongLength)
    );
}

#[tokio::test]
async fn a_file_above_its_cap_is_refused_before_anything_is_allocated() {
    let pair = connected().await;
    let mut stream = pair.coordinator.connection.open_uni().await.unwrap();
    let claimed = FileDigest {
        sha256: Digest::of(b""),
        len: 1 << 60,
    };
    let header = StreamHeader::File { file: claimed };
    stream
        .write_all(&frame::encode(&header).unwrap())
        .await
        .unwrap();
    match file(&pair.node.connection)
        .await
        .receive(&claimed, 1 << 20, PATIENCE, ignore)
        .await
    {
        Err(TransferError::TooLarge { len, cap }) => assert_eq!((len, cap), (1 << 60, 1 << 20)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_file_than_asked_for_is_refused() {
    let pair = connected().await;
    let asked = FileDigest::of(b"asked");
    let coordinator = pair.coordinator.connection.clone();
    let sender = tokio::spawn(async move {
        let bytes = pattern(1 << 20);
        send_file(&coordinator, FileDigest::of(&bytes), bytes, ignore).await
    });
    match file(&pair.node.connection)
        .await
        .receive(&asked, 1 << 30, PATIENCE, ignore)
        .await
    {
        Err(TransferError::Unexpected { expected, found }) => {
            assert_eq!(
                (expected, found),
                (asked, FileDigest::of(&pattern(1 << 20)))
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        sender.await.unwrap(),
        Err(TransferError::Stopped(StopCode::NotWanted))
    ));
}

#[tokio::test]
async fn bytes_that_are_not_the_announced_file_are_refused() {
    let pair = connected().await;
    let asked = FileDigest::of(b"asked");
    let mut stream = pair.coordinator.connection.open_uni().await.unwrap();
    stream
        .write_all(&frame::encode(&StreamHeader::File { file: asked }).unwrap())
        .await
        .unwrap();
    stream.write_all(b"other").await.unwrap();
    stream.finish().unwrap();
    match file(&pair.node.connection)
        .await
        .receive(&asked, 100, PATIENCE, ignore)
        .await
    {
        Err(TransferError::WrongDigest { expected, found }) => {
            assert_eq!(
                (expected, found),
                (Digest::of(b"asked"), Digest::of(b"other"))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn too_few_and_too_many_bytes_are_refused() {
    for (sent, wanted) in [(3, 4), (5, 4)] {
        let pair = connected().await;
        let mut stream = pair.node.connection.open_uni().await.unwrap();
        let header = StreamHeader::Masked {
            round: 1,
            attempt: 0,
            len: wanted,
        };
        stream
            .write_all(&frame::encode(&header).unwrap())
            .await
            .unwrap();
        stream.write_all(&pattern(sent)).await.unwrap();
        stream.finish().unwrap();
        let upload = masked(&pair.coordinator.connection).await;
        match upload.receive(4, PATIENCE, ignore).await {
            Err(TransferError::Ended { done: 3, total: 4 }) => assert_eq!(sent, 3),
            Err(TransferError::TrailingBytes { total: 4 }) => assert_eq!(sent, 5),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_unknown_header_is_refused() {
    let pair = connected().await;
    let mut stream = pair.node.connection.open_uni().await.unwrap();
    stream.write_all(&[0, 0, 0, 0, 0x7f]).await.unwrap();
    let unknown = accept_stream(&pair.coordinator.connection).await.unwrap();
    match unknown.header(PATIENCE).await {
        Err(TransferError::Frame(error)) => {
            assert_eq!(error, FrameError::UnknownKind { kind: 0x7f });
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transfer_that_its_sender_drops_is_cancelled_not_complete() {
    let pair = connected().await;
    let mut outgoing = Outgoing::masked(&pair.node.connection, 1, 0, pattern(1 << 20))
        .await
        .unwrap();
    let upload = masked(&pair.coordinator.connection).await;
    outgoing.send_until(1 << 16, ignore).await.unwrap();
    drop(outgoing);
    match upload.receive(1 << 20, PATIENCE, ignore).await {
        Err(TransferError::Cancelled(code)) => assert_eq!(code, StopCode::Cancelled),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_connection_that_closes_mid_upload_gives_the_reason() {
    let pair = connected().await;
    let mut outgoing = Outgoing::masked(&pair.node.connection, 1, 0, pattern(1 << 20))
        .await
        .unwrap();
    let upload = masked(&pair.coordinator.connection).await;
    outgoing.send_until(1 << 16, ignore).await.unwrap();
    close(&pair.node.connection, CloseCode::ShuttingDown, "Ctrl-C");
    match upload.receive(1 << 20, PATIENCE, ignore).await {
        Err(TransferError::Lost(Lost::Closed(closed))) => {
            assert_eq!(closed.code, CloseCode::ShuttingDown);
            assert_eq!(closed.reason.as_str(), "Ctrl-C");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_late_upload_is_told_so() {
    let pair = connected().await;
    let node = pair.node.connection.clone();
    let sender =
        tokio::spawn(async move { send_masked(&node, 1, 0, pattern(1 << 20), ignore).await });
    masked(&pair.coordinator.connection)
        .await
        .refuse(StopCode::Late);
    assert!(matches!(
        sender.await.unwrap(),
        Err(TransferError::Stopped(StopCode::Late))
    ));
}
