"""Whole rounds of Python clients and a Python server, with clients lost on request."""

from client import Client, Identity, Policy
from messages import Session, make_credential
from primitives import Coins, identity_key, le
from server import Aborted, Server

NOW, EXPIRY = 1_000_000, 2_000_000
AUTHORITY_SECRET, FEDERATION = bytes([200]) * 32, bytes([201]) * 32
TRUST = (identity_key(AUTHORITY_SECRET), FEDERATION)


def parameters(model, kind, n_min, n_max, segments, sigma=40, eta=20):
    head = bytes([1, model, kind, sigma, eta])
    body = [le(n_min, 4), le(n_max, 4), le(len(segments), 4)]
    for name, count, bits in segments:
        body += [le(len(name.encode()), 4), name.encode(), le(count, 4), bytes([bits])]
    return head + b"".join(body)


def make_session(model, kind, n_min, n_max, segments):
    context = (7, bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32)
    return Session(parameters(model, kind, n_min, n_max, segments), *context)


def make_identity(number, malicious):
    """The client whose identity secret and coin seed are this number, 32 times."""
    secret = bytes([number]) * 32
    public = identity_key(secret)
    if not malicious:
        return Identity(secret, public)
    credential = make_credential(AUTHORITY_SECRET, public, FEDERATION, EXPIRY)
    return Identity(secret, public, credential, TRUST)


def make_policy(session, corrupt):
    return Policy(session.model, 40, corrupt, 3, 3)


def make_clients(session, corrupt, count):
    clients = {}
    for number in range(1, count + 1):
        identity = make_identity(number, session.malicious)
        policy = make_policy(session, corrupt)
        clients[identity.id] = Client(session, policy, identity, Coins(bytes([number]) * 32), NOW)
    return dict(sorted(clients.items()))


def make_input(session, rank):
    """Deterministic numbers that fill the range."""
    vector = []
    for _, count, bits in session.segments:
        largest = ((1 << bits) - 1) // session.n_max
        vector.append([(rank * 0x9E3779B97F4A7C15 + e * 77) % (largest + 1) for e in range(count)])
    return vector


def sum_of(session, vectors):
    result = []
    for i, (_, _, bits) in enumerate(session.segments):
        result.append([sum(column) % (1 << bits) for column in zip(*(v[i] for v in vectors))])
    return result


def run_round(session, clients, k, t, lost, tamper=None):
    """`lost` maps a round's name to the ranks that fall silent in it, before they send.

    Returns the outcome (or why the round ended), the inputs by id, and what the server and the
    clients saw, in order: [what, rank of the client, message].
    """
    server = Server(session, TRUST, NOW)
    ids, log, inbox = list(clients), [], {client: None for client in clients}
    inputs = {client: make_input(session, rank) for rank, client in enumerate(ids)}

    def turn(action):
        for client in list(inbox):
            rank = ids.index(client)
            if rank in lost.get(server.round, []):
                server.drop(client)
                log.append(["drop", rank, b""])
                continue
            honest = action(client)
            message = tamper(server.round, rank, honest) if tamper else honest
            log.append(["up" if message == honest else "forged", rank, message])
            server.receive(client, message)

    def deliver(messages):
        inbox.clear()
        inbox.update(sorted(messages.items()))
        log.append(["close", 0, b""])
        log.extend(["down", ids.index(client), message] for client, message in inbox.items())

    def mask(client):
        assert clients[client].receive(inbox[client]) is None
        return clients[client].mask(inputs[client])

    turn(lambda client: clients[client].step())
    deliver(server.close_adverts(k, t))
    turn(lambda client: clients[client].receive(inbox[client]))
    deliver(server.close_share_keys())
    turn(mask)
    deliver(server.close_masked_input())
    if session.malicious:
        turn(lambda client: clients[client].receive(inbox[client]))
        deliver(server.close_consistency_check())
    turn(lambda client: clients[client].receive(inbox[client]))
    log.append(["close", 0, b""])
    try:
        return server.close_unmask(), inputs, log
    except Aborted as aborted:
        return aborted, inputs, log
