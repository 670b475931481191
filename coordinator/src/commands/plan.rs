//! `plan`: degree, threshold, how sure they are, and what a round costs, before anybody takes part.

mod trial;

use std::io::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use secagg::{
    Choice, Context, GraphKind, Layout, Parameters, Segment, Session, ThreatModel, Traffic,
};
use secagg_learning::cohort::assumptions;
use serde_json::{Value, json};

use self::trial::{Costs, Seconds};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Nodes in a round.
    #[arg(long, value_name = "N")]
    clients: u32,
    /// Share of them that may be lost after the roster is fixed, 0 to 1.
    #[arg(long, default_value_t = 0.3, value_name = "FRACTION")]
    dropout: f64,
    /// Share of them that may be corrupt, 0 to 1; one node at least is reckoned with.
    #[arg(long, default_value_t = 0.1, value_name = "FRACTION")]
    corrupt: f64,
    /// Elements of the vector that is summed.
    #[arg(long, value_name = "M")]
    elements: u32,
    /// Bits of an element of the sum, 1 to 64.
    #[arg(long, value_name = "BITS")]
    bits: u8,
    /// What nodes trust the coordinator with.
    #[arg(long, value_enum, default_value = "malicious")]
    threat_model: Model,
    /// The graph that may be chosen: with "sparse", the complete one serves where no other is safe.
    #[arg(long, value_enum, default_value = "sparse")]
    graph: Graph,
    /// Bits of security; by default 80 where the coordinator is not trusted, else 40.
    #[arg(long, value_name = "SIGMA")]
    security_bits: Option<u8>,
    /// Bits of correctness.
    #[arg(long, default_value_t = secagg::CORRECTNESS_BITS, value_name = "ETA")]
    correctness_bits: u8,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Model {
    /// With nothing.
    Malicious,
    /// To follow the protocol.
    HonestButCurious,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Graph {
    /// Few neighbours for each node.
    Sparse,
    /// Everybody is everybody's neighbour.
    Complete,
}

/// A graph, and what a round over it costs.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    choice: Choice,
    traffic: Traffic,
    seconds: Seconds,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let threat_model = match arguments.threat_model {
        Model::Malicious => ThreatModel::Malicious,
        Model::HonestButCurious => ThreatModel::HonestButCurious,
    };
    let graph = match arguments.graph {
        Graph::Sparse => GraphKind::Sparse,
        Graph::Complete => GraphKind::Complete,
    };
    let segment = Segment::new("elements", arguments.elements, arguments.bits)?;
    let layout = Layout::new(vec![segment.clone()])?;
    let n = arguments.clients;
    let session = |graph| {
        let security = arguments
            .security_bits
            .unwrap_or_else(|| secagg::security_bits(threat_model));
        let parameters = Parameters::new(threat_model, graph, n..=n, layout.clone())?
            .with_bits(security, arguments.correctness_bits)?;
        let context = Context {
            round: 1,
            nonce: [0; 32],
            model_digest: [0; 32],
            plan_digest: [0; 32],
        };
        anyhow::Ok(Session::new(parameters, context))
    };
    let assumed = |graph| {
        let (corrupt, dropped) = (arguments.corrupt, arguments.dropout);
        let mut assumed = assumptions(threat_model, graph, n, corrupt, dropped);
        assumed.security_bits = session(graph)?.parameters().security_bits().into();
        assumed.correctness_bits = arguments.correctness_bits.into();
        anyhow::Ok(assumed)
    };
    let chosen = assumed(graph)?.choose()?;
    // A machine that is measured in parts of a second is enough for an estimate.
    let costs = Costs::of_this_machine(threat_model, arguments.bits)?;
    let lost = chosen.max_dropped();
    let way = |name, graph, choice: Choice| {
        let (k, t) = (choice.degree(), choice.threshold());
        anyhow::Ok(Way {
            name,
            choice,
            traffic: Traffic::new(&session(graph)?, n, k, t),
            seconds: costs.round(n, k, t, lost, arguments.elements),
        })
    };
    let mut ways = Vec::new();
    if chosen.is_complete() {
        ways.push(way("complete", GraphKind::Complete, chosen)?);
    } else {
        ways.push(way("sparse", graph, chosen)?);
        // To compare with, where it is possible at all.
        if let Ok(complete) = assumed(GraphKind::Complete).and_then(|all| Ok(all.choose()?)) {
            ways.push(way("complete", GraphKind::Complete, complete)?);
        }
    }
    let max_input = session(graph)?.max_input(&segment);
    let text = if arguments.json {
        format!(
            "{}\n",
            to_json(arguments, threat_model, &ways, max_input, chosen)
        )
    } else {
        table(arguments, threat_model, &ways, max_input, chosen)
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write")
}

fn to_json(
    arguments: &Arguments,
    threat_model: ThreatModel,
    ways: &[Way],
    max_input: u64,
    chosen: Choice,
) -> Value {
    let one = |way: &Way| {
        let Way {
            name,
            choice,
            traffic,
            seconds,
        } = way;
        json!({
            "graph": name,
            "degree": choice.degree(),
            "threshold": choice.threshold(),
            // Where nothing can fail there is no logarithm: null.
            "log2_insecure": finite(choice.log2_insecure()),
            "log2_disconnected": finite(choice.log2_disconnected()),
            "log2_incorrect": finite(choice.log2_incorrect()),
            "bytes_up": traffic.up(),
            "bytes_down": traffic.down(),
            "bytes_masked_input": traffic.masked_input,
            "client_seconds": seconds.client,
            "server_seconds": seconds.server,
            "server_seconds_with_losses": seconds.server_with_losses,
        })
    };
    json!({
        "clients": arguments.clients,
        "max_corrupt": chosen.max_corrupt(),
        "max_lost": chosen.max_dropped(),
        "elements": arguments.elements,
        "bits": arguments.bits,
        "threat_model": threat_model.to_string(),
        "max_input": max_input,
        "ways": ways.iter().map(one).collect::<Vec<_>>(),
    })
}

fn finite(log2: f64) -> Option<f64> {
    log2.is_finite().then_some(log2)
}

fn table(
    arguments: &Arguments,
    threat_model: ThreatModel,
    ways: &[Way],
    max_input: u64,
    chosen: Choice,
) -> String {
    let Arguments {
        clients,
        elements,
        bits,
        ..
    } = arguments;
    let mut text = format!(
        "{clients} nodes, at most {} corrupt and {} lost after the roster; threat model {threat_model}\n\
         {elements} elements of {bits} bits: a node may add 0 to {max_input} to each ({:.1} bits)\n\n",
        chosen.max_corrupt(),
        chosen.max_dropped(),
        ((max_input + 1) as f64).log2(),
    );
    let mut row = |name: &str, cell: &dyn Fn(&Way) -> String| {
        let mut line = format!("{name:<46}");
        for way in ways {
            line += &format!("{:>14}", cell(way));
        }
        text += line.trim_end();
        text.push('\n');
    };
    let probability = |log2: f64| match finite(log2) {
        Some(log2) => format!("2^{log2:.1}"),
        None => "never".to_owned(),
    };
    let bytes = |bytes: u64| {
        if bytes < 10_000_000 {
            format!("{:.1} kB", bytes as f64 / 1e3)
        } else {
            format!("{:.1} MB", bytes as f64 / 1e6)
        }
    };
    let seconds = |seconds: f64| {
        if seconds < 1.0 {
            format!("{:.1} ms", seconds * 1e3)
        } else {
            format!("{seconds:.1} s")
        }
    };
    row("graph", &|way| way.name.to_owned());
    row("neighbours of each node", &|way| {
        way.choice.degree().to_string()
    });
    row("threshold", &|way| way.choice.threshold().to_string());
    row("corrupt neighbours learn a secret", &|way| {
        probability(way.choice.log2_insecure())
    });
    row("the graph falls apart", &|way| {
        probability(way.choice.log2_disconnected())
    });
    row("a round fails though no more are lost", &|way| {
        probability(way.choice.log2_incorrect())
    });
    row("bytes up, a node", &|way| bytes(way.traffic.up()));
    row("  of them the masked vector", &|way| {
        bytes(way.traffic.masked_input)
    });
    row("bytes down, a node", &|way| bytes(way.traffic.down()));
    row("computing, a node", &|way| seconds(way.seconds.client));
    row("computing, the coordinator, nobody lost", &|way| {
        seconds(way.seconds.server)
    });
    row("computing, the coordinator, all those lost", &|way| {
        seconds(way.seconds.server_with_losses)
    });
    text + "\nBytes are those of the protocol's messages. Times are estimates for one thread of this \
            machine, from a\nmeasurement of a moment; model, training and network come on top.\n"
}
