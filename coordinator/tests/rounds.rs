//! Whole rounds over loopback QUIC, with clients that are lost on the way.

mod common;

use common::{CONFIG, Client, Folder, INITIAL, Member, Running};
use secagg_coordinator::RunError;
use secagg_wire::{
    channel::ChannelError,
    close::{CloseCode, Lost, StopCode},
    message::{CoordinatorMessage, DeclineReason, NodeMessage, RoundResult},
    transfer::TransferError,
};
use tokio::task::JoinSet;

async fn join_all(running: &Running, clients: &[Client]) -> Vec<Member> {
    let mut members = Vec::new();
    for client in clients {
        members.push(client.join(running.address).await);
    }
    members
}

/// Everybody takes part in the next round and is included.
async fn whole_round(members: Vec<Member>) -> Vec<Member> {
    let mut tasks = JoinSet::new();
    for mut member in members {
        tasks.spawn(async move {
            let (_, result, summary) = member.take_part().await;
            assert_eq!(result, RoundResult::Included);
            assert_eq!(summary.validation.map(|figures| figures.loss), Some(3.0));
            member
        });
    }
    tasks.join_all().await
}

async fn finished(members: Vec<Member>) {
    for mut member in members {
        let message = member.next().await;
        assert!(
            matches!(message, CoordinatorMessage::Finished { .. }),
            "{message:?}"
        );
    }
}

/// FedAvg with rate 1: the weights move by the mean of `number / 16`, weighted by `number`.
fn assert_moved(before: &[f32], after: &[f32], numbers: &[f32]) {
    let weight: f32 = numbers.iter().sum();
    let mean: f32 = numbers
        .iter()
        .map(|number| number * number / 16.0)
        .sum::<f32>()
        / weight;
    // Half a unit at 16 bits over ±0.5, for weights far below the cap of 20.
    let bound = numbers.len() as f32 * 0.5 * 20.0 / (32_767.0 * weight) + 1e-6;
    for (before, after) in before.iter().zip(after) {
        let moved = after - before;
        assert!(
            (moved - mean).abs() <= bound,
            "{moved} is not {mean} ± {bound}"
        );
    }
}

fn config(more: &str) -> String {
    // A cap near the weights of the clients makes the rounding fine enough to see the mean.
    format!("{CONFIG}[update]\nweight_cap = 20\nclip_norm = 100.0\n{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_training_moves_the_weights_by_the_weighted_mean() {
    let folder = Folder::new(&config("").replace("rounds = 1", "rounds = 2"));
    let (mut running, clients) = folder.run_with(4).await;
    let mut members = join_all(&running, &clients).await;
    for _ in 0..3 {
        members = whole_round(members).await;
    }
    finished(members).await;
    let ended = running.ended().await.unwrap();
    assert_eq!((ended.rounds, ended.best_round), (2, Some(0)));

    let (first, second) = (folder.weights(1), folder.weights(2));
    assert_moved(&INITIAL, &first, &[1.0, 2.0, 3.0, 4.0]);
    assert_moved(&first, &second, &[1.0, 2.0, 3.0, 4.0]);

    let complete = running.seen("round_complete");
    let kinds: Vec<_> = complete.iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["train", "train", "evaluate-only"]);
    assert_eq!(complete[0]["contributors"], 4);
    assert_eq!(complete[0]["train_loss"], 2.0);
    assert_eq!(complete[0]["validation"]["top3"], 0.4);
    assert_eq!(complete[0]["validation"]["tokens"], 40);
    assert!(complete[0]["bytes_up"].as_u64().unwrap() > 1000);
    assert_eq!(running.seen("upload").len(), 12);
    let phases: Vec<_> = running.seen("phase")[..5]
        .iter()
        .map(|event| event["phase"].as_str().unwrap())
        .collect();
    assert_eq!(
        phases,
        [
            "train",
            "advertise-keys",
            "share-keys",
            "masked-input",
            "unmask"
        ]
    );

    // Started again, there is nothing left to do.
    let mut again = folder.run();
    assert_eq!(again.ended().await.unwrap().rounds, 2);
    assert!(again.seen("round_started").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_after_share_keys_is_left_out_of_the_sum() {
    let folder = Folder::new(&config(""));
    let (mut running, clients) = folder.run_with(4).await;
    let mut members = join_all(&running, &clients).await;
    let mut dying = members.pop().unwrap();
    let death = tokio::spawn(async move {
        let announced = dying.accept().await;
        let state = dying.advertise(&announced).await;
        let _ = dying.share(&announced, state).await;
        // Everybody has shared when the delivery comes.
        let _ = dying.next().await;
        dying.link.close(CloseCode::Done, "killed").await;
    });
    let members = whole_round(members).await;
    death.await.unwrap();
    let complete = running.event("round_complete").await;
    assert_eq!(
        (&complete["contributors"], &complete["lost"]),
        (&3.into(), &1.into())
    );
    let lost: Vec<_> = running
        .seen("phase")
        .into_iter()
        .filter(|event| event["phase"] == "masked-input")
        .flat_map(|event| event["lost"].as_array().unwrap())
        .collect();
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0]["name"], "node 4");
    finished(whole_round(members).await).await;
    running.ended().await.unwrap();
    assert_moved(&INITIAL, &folder.weights(1), &[1.0, 2.0, 3.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_below_the_threshold_is_tried_again() {
    let folder = Folder::new(&config(""));
    let (mut running, clients) = folder.run_with(3).await;
    let mut members = join_all(&running, &clients).await;
    let mut tasks = JoinSet::new();
    for mut member in members.drain(..) {
        tasks.spawn(async move {
            let announced = member.accept().await;
            let state = member.advertise(&announced).await;
            if member.number == 3 {
                // It has the roster, so everybody has advertised.
                let _ = member.next().await;
                member.link.close(CloseCode::Done, "killed").await;
                return None;
            }
            let _ = member.share(&announced, state).await;
            match member.end(&announced).await {
                (RoundResult::Abandoned { reason }, _) => {
                    assert!(reason.as_str().contains("3 are needed"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
            Some(member)
        });
    }
    let mut members: Vec<Member> = tasks.join_all().await.into_iter().flatten().collect();
    let abandoned = running.event("round_abandoned").await;
    assert_eq!(abandoned["phase"], "share-keys");
    running.event("waiting").await;
    members.push(clients[2].join(running.address).await);
    let members = whole_round(members).await;
    let complete = running.event("round_complete").await;
    assert_eq!(
        (&complete["round"], &complete["attempt"]),
        (&1.into(), &2.into())
    );
    finished(whole_round(members).await).await;
    running.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_attempts_end_the_run_with_the_reason() {
    let folder = Folder::new(&config("").replace("max_attempts = 2", "max_attempts = 1"));
    let (mut running, clients) = folder.run_with(3).await;
    let mut members = join_all(&running, &clients).await;
    for member in &mut members {
        let CoordinatorMessage::Announce { round, attempt, .. } = member.next().await else {
            panic!("no announcement");
        };
        let reason = DeclineReason::UploadsUsedUp;
        let decline = NodeMessage::Decline {
            round,
            attempt,
            reason,
        };
        member.channel.send(&decline).await.unwrap();
    }
    match running.ended().await {
        Err(RunError::Attempts {
            round: 1,
            attempts: 1,
            phase,
            reason,
        }) => {
            assert_eq!(phase, "train");
            assert!(reason.contains("3 declined"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    for member in members {
        match member.closed().await {
            ChannelError::Lost(Lost::Closed(closed)) => {
                assert_eq!(closed.code, CloseCode::ShuttingDown);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upload_loses_its_slot() {
    let uploads = "[uploads]\nmax_buffered_uploads = 1\nstall_seconds = 1.0\n";
    let folder = Folder::new(&config(uploads));
    let (mut running, clients) = folder.run_with(4).await;
    let mut members = join_all(&running, &clients).await;
    let mut stalling = members.pop().unwrap();
    let stalled = tokio::spawn(async move {
        let announced = stalling.accept().await;
        let state = stalling.advertise(&announced).await;
        let state = stalling.share(&announced, state).await;
        let input = stalling.input(&announced);
        let (_state, bytes) = stalling.mask(&announced, state, &input).await;
        let half = bytes.len() / 2;
        let mut upload = stalling.upload(&announced, bytes).await;
        upload.send_until(half, |_| ()).await.unwrap();
        // Nothing more, until it is told that it was too slow.
        match stalling.next().await {
            CoordinatorMessage::Rejected { reason, .. } => {
                assert!(reason.as_str().contains("stalled"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        let (result, _) = stalling.end(&announced).await;
        assert_eq!(result, RoundResult::NotIncluded);
        match upload.finish(|_| ()).await {
            Err(TransferError::Stopped(StopCode::Stalled)) => {}
            other => panic!("{other:?}"),
        }
        stalling
    });
    let mut members = whole_round(members).await;
    members.push(stalled.await.unwrap());
    let complete = running.event("round_complete").await;
    assert_eq!(
        (&complete["contributors"], &complete["lost"]),
        (&3.into(), &1.into())
    );
    finished(whole_round(members).await).await;
    running.ended().await.unwrap();
    assert_moved(&INITIAL, &folder.weights(1), &[1.0, 2.0, 3.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_was_running_is_repeated_after_a_crash() {
    let folder = Folder::new(&config("").replace("rounds = 1", "rounds = 2"));
    let (mut running, clients) = folder.run_with(3).await;
    let mut members = whole_round(join_all(&running, &clients).await).await;
    running.event("round_complete").await;
    // Everybody is in the second round when the coordinator dies.
    for member in &mut members {
        let announced = member.accept().await;
        assert_eq!((announced.round, announced.attempt), (2, 1));
    }
    running.kill().await;
    drop(members);

    let mut running = folder.run();
    let mut members = join_all(&running, &clients).await;
    let started = running.event("round_started").await;
    assert_eq!(
        (&started["round"], &started["attempt"]),
        (&2.into(), &2.into())
    );
    for _ in 0..2 {
        members = whole_round(members).await;
    }
    finished(members).await;
    assert_eq!(running.ended().await.unwrap().rounds, 2);
    let first = folder.weights(1);
    assert_moved(&INITIAL, &first, &[1.0, 2.0, 3.0]);
    assert_moved(&first, &folder.weights(2), &[1.0, 2.0, 3.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_abandons_the_round_and_tells_the_nodes() {
    let folder = Folder::new(&config(""));
    let (mut running, clients) = folder.run_with(3).await;
    let mut members = join_all(&running, &clients).await;
    let mut announced = Vec::new();
    for member in &mut members {
        announced.push(member.accept().await);
    }
    running.stop.send_replace(true);
    assert!(matches!(running.ended().await, Err(RunError::Stopped)));
    let abandoned = running.seen("round_abandoned");
    assert_eq!(abandoned[0]["reason"], "the coordinator was stopped");
    for member in members {
        match member.closed().await {
            ChannelError::Lost(Lost::Closed(closed)) => {
                assert_eq!(closed.code, CloseCode::ShuttingDown);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The server's rate follows the schedule by training rounds, right after a restart too.
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_schedule_goes_on_after_a_restart() {
    let schedule = "server_schedule = { step = { every = 1, factor = 0.5 } }";
    let text = config("").replace("rounds = 1", &format!("rounds = 3\n{schedule}"));
    let folder = Folder::new(&text);
    let (mut running, clients) = folder.run_with(3).await;
    let mut members = whole_round(join_all(&running, &clients).await).await;
    running.event("round_complete").await;
    for member in &mut members {
        member.accept().await;
    }
    running.kill().await;
    drop(members);

    let mut running = folder.run();
    let mut members = join_all(&running, &clients).await;
    for _ in 0..3 {
        members = whole_round(members).await;
    }
    finished(members).await;
    assert_eq!(running.ended().await.unwrap().rounds, 3);
    let mut before = INITIAL.to_vec();
    for (round, factor) in [(1, 1.0), (2, 0.5), (3, 0.25)] {
        let after = folder.weights(round);
        let whole: Vec<f32> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| before + (after - before) / factor)
            .collect();
        assert_moved(&before, &whole, &[1.0, 2.0, 3.0]);
        before = after;
    }
}
