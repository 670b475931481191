//! What `init` writes: every key at its default, each with a comment.

use std::net::SocketAddr;

use secagg_wire::authority::AuthorityPin;

/// The configuration file of a new coordinator that listens there.
#[must_use]
pub fn template(listen: SocketAddr, authority: Option<AuthorityPin>) -> String {
    let authority = authority.map_or_else(String::new, |pin| pin.to_string());
    TEMPLATE
        .replace("{listen}", &listen.to_string())
        .replace("{authority}", &authority)
}

const TEMPLATE: &str = r#"# The configuration of a secagg coordinator. Every key stands here with its default; a key that
# is left out has that default too. Changes count from the next `secagg-coordinator run`.

[federation]
# The federation's name, shown to nodes. At most 64 bytes.
name = "federation"
# Who vouches for nodes: the pin that `secagg-coordinator authority` printed. Needed in the threat
# model "malicious".
authority = "{authority}"

[network]
# The UDP address to listen on. "0.0.0.0:4433" for every interface; port 0 for any free one.
listen = "{listen}"
# Seconds without a sign of life after which a node counts as gone.
idle_seconds = 30.0
# Seconds between two signs of life when there is nothing to say; 0 for none.
keep_alive_seconds = 8.0
# Seconds that a handshake and the first message may take.
handshake_seconds = 10.0
# Connections at a time, handshakes included. What comes on top is refused.
max_connections = 1024
# Handshakes in progress at a time from one address.
handshakes_per_address = 128
# Messages that one node may send between two announcements; one that sends more is closed.
frames_per_round = 64

[cohort]
# What nodes trust this coordinator with: "malicious" for nothing, or "honest-but-curious" to follow
# the protocol. Each node has a policy of its own, and refuses what is weaker.
threat_model = "malicious"
# Who is whose neighbour: "complete" for everybody, or "sparse" for large cohorts, where degree and
# threshold are chosen so that the bounds below hold but for tiny probabilities.
graph = "complete"
# Nodes that a round needs at least, 3 or more: a sum of two reveals each to the other.
min_clients = 5
# Nodes that a round takes at most. Fixes the width of the ring: more nodes, more bits an element.
max_clients = 100
# Share of a roster that may be corrupt, 0 to below 1. A = floor(share x nodes), at least 1; the
# threshold follows from it.
corrupt_fraction = 0.1
# Share of a roster that may be lost after it is fixed, 0 to below 1.
dropout_fraction = 0.3
# Who is selected when more nodes are connected than a round takes: "least-recent", or whole
# batches of nodes in the order of enrolment: { batches = { size = 4 } }.
strategy = "least-recent"
# Uploads after which a node is not selected any more; 0 for no limit.
max_participations = 0

[rounds]
# Training rounds after which training ends.
rounds = 10
# Evaluated rounds in a row without an improvement after which training ends; 0 for never.
patience = 3
# An improvement lowers the best validation loss by more than this, in nats a token.
min_delta = 0.0
# How the server's learning rate changes from one training round to the next: "constant",
# { step = { every = 50, factor = 0.5 } }, { cosine = { steps = 200, floor = 0.1 } } or
# { noam = { warm_up = 10 } }. The rate of the optimiser is the highest.
server_schedule = "constant"
# In how many bits the weights go down to the nodes: "f32", "bf16" (half of the bytes) or "int8" (about a
# quarter, with a scale for each row of a matrix). The coordinator keeps f32 weights; nodes train from the
# copy that they get, evaluate it, and send what they have changed of it.
weights_down = "f32"
# Sets the smallest weights of each tensor of two dimensions or more to zero, in training rounds from
# `begin` on, every so many of them, until from `end` on this share of them is zero. They stay zero; nodes
# need not know. A sparsity of 0 for no pruning.
pruning = { sparsity = 0.0, begin = 1, end = 100, every = 1 }
# Attempts at one round before the coordinator gives up.
max_attempts = 5
# Seconds to wait for enough nodes before the coordinator gives up.
wait_seconds = 600.0
# Seconds to wait for further nodes before the first round, once there are enough.
gather_seconds = 3.0

[deadlines]
# Seconds that a node has to accept or decline a round.
answer_seconds = 30.0

# Each phase closes at once when everybody still expected has answered. Otherwise it closes after
# min_seconds if enough for the protocol and min_fraction of the expected nodes have answered, and
# after max_seconds in any case.
[deadlines.train]
# From the announcement until the roster is fixed: nodes evaluate, train and advertise keys.
min_seconds = 300.0
# The longest wait.
max_seconds = 1800.0
# Share of the nodes that accepted, 0 to 1.
min_fraction = 0.8

[deadlines.share_keys]
# Until every node of the roster has sent its sealed shares.
min_seconds = 10.0
# The longest wait.
max_seconds = 60.0
# Share of the roster, 0 to 1.
min_fraction = 0.8

[deadlines.masked_input]
# Until the masked vectors are in.
min_seconds = 60.0
# The longest wait.
max_seconds = 600.0
# Share of those that shared their keys, 0 to 1.
min_fraction = 0.8

[deadlines.consistency_check]
# Until the survivors have signed who they are, where they do not trust the coordinator.
min_seconds = 10.0
# The longest wait.
max_seconds = 60.0
# Share of the survivors, 0 to 1.
min_fraction = 0.8

[deadlines.unmask]
# Until the survivors have revealed their shares.
min_seconds = 10.0
# The longest wait.
max_seconds = 60.0
# Share of the survivors, 0 to 1.
min_fraction = 0.8

[uploads]
# Masked vectors that are read into memory at a time. The others wait by flow control.
max_buffered_uploads = 4
# Seconds without progress after which an upload loses its place and its node is dropped.
stall_seconds = 15.0

[update]
# Largest L2 norm of a node's update; a longer one is scaled down.
clip_norm = 10.0
# Largest magnitude of one weighted element; what lies beyond is clamped.
range = 0.5
# Bits of a rounded value, 2 to 24.
value_bits = 16
# Largest weight of one node: who has more examples counts with this many.
weight_cap = 1000
# Rotates updates at random before they are rounded, so that a much smaller range, and fewer bits,
# hold them: this range, in units of clip_norm / sqrt(parameters), then takes the place of range.
# 4 to 6 suits updates as long as clip_norm and as heavy as weight_cap. 0 for no rotation.
rotation_range = 0.0
# Share of the coordinates that is sent, drawn anew in each round, up to 1 for all of them.
fraction = 1.0
# Whether each node keeps what it has not sent and adds it to its next update. Updates are up to
# 1 / fraction times as long then: raise clip_norm. Suits nodes that take part often.
feedback = false
# The tensors that are trained and sent, by their names in initial.safetensors: ["output_bias"], or
# by the beginning of their names: ["output*"]. Of ["embedding[0..1000]"] it is the first thousand rows,
# which are the special tokens and the most frequent words of the vocabulary: the same for all nodes,
# whatever they wrote. All else stays as it is, to the bit. [] for all of them.
tensors = []

[training]
# Passes over a node's text in a round, 1 to 1000. In place of it `steps`, 1 to 1000000, or
# `seconds`, 1 to 86400: a node's weight is then the examples that it has seen.
epochs = 1
# Examples a batch, 1 to 65536.
batch = 16
# Batches a step, 1 to 1024: as one large batch, but only one is in a node's memory at a time.
accumulate = 1
# The optimiser of local steps: { sgd = { rate = 1.0 } }, { adam = { rate = 0.002 } } or
# { momentum = { rate = 0.3, beta = 0.9 } }.
optimizer = { adam = { rate = 0.002 } }
# What its rate is multiplied by in each round: "constant", { step = { every = 10, factor = 0.5 } },
# { cosine = { steps = 100, floor = 0.1 } } or { noam = { warm_up = 10 } }, counted in rounds.
schedule = "constant"
# Weight decay, 0 to below 1; apart from the gradient with Adam.
weight_decay = 0.0
# FedProx's mu: pulls a node's weights back to those that it received; 0 for none.
proximal = 0.0
# Dropout: the probability with which a number between two layers is left out, 0 to below 1. 0.2 to 0.5
# keeps a model from learning its nodes' text by heart. Evolution strategies have none.
dropout = 0.0
# Largest L2 norm of a step's gradient, without weight decay and FedProx's pull.
gradient_clip = 5.0
# Examples of a node that a round uses at most, drawn at random in each round; 0 for all. Who has far more
# than others trains no longer than they do, has no larger share of the sum, and hears its own text less
# often. Suits a weight_cap of as many. Evolution strategies do not look at it.
max_examples = 0
# Words of an example that are used, 1 to 4096; characters or a tokenizer's tokens where the model is one
# of those. Pairs of texts that are longer are left out.
max_words = 64
# What the network is computed in: "f32", or "bf16", with f32 weights in the optimiser. That is faster
# only on processors with instructions for bf16 (AVX512-BF16, AMX), and much slower on others: nodes
# say so when they train.
precision = "f32"

# Evolution strategies in the place of training: a node sends no update, but how much the loss on its
# own text falls along so many random directions, each tried on `batch` x `accumulate` messages: a few
# bytes each. For small models, or for many rounds. Suits the server's fedadam; clip_norm and range are
# then those of the falls, in nats a token.
[evolution]
# Directions, up to 65536; 0 for training.
pairs = 0
# How far each weight is moved.
sigma = 0.01
# Of the last so many rounds nodes that were away fetch what each did to the weights, some hundred
# bytes a round, in the place of weights and optimiser's state; up to 63, and as long as all of them
# together take a quarter of these at most. 0: every node fetches the weights in each round.
keep_steps = 63

# How the mean update changes the weights. One of
#   [server.fedavg]   rate
#   [server.fedavgm]  rate, momentum
#   [server.fedadam]  rate, beta1, beta2, tau
#   [server.fedyogi]  rate, beta1, beta2, tau
#   [server.fedadagrad]  rate, beta1, tau
[server.fedavg]
# The server's learning rate.
rate = 1.0

[weights]
# The newest weights that are kept, at least 1.
keep_last = 3
# Of the older ones, every so many rounds one is kept; 0 for none.
keep_every = 10
# Whether the round with the best validation loss is kept.
keep_best = true
"#;
