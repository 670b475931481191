"""One client of one round as a process: secagg/tests/mixed.rs starts some beside clients in Rust.

Frames over standard input and output are LE32(length) ‖ bytes. The first is JSON and says who the
client is; the answer is its Advert. Each later one is a message of the server, and each answer the
client's message. A refusal goes to standard error, and ends the process.
"""

import json
import sys

from client import Client, Identity, Policy
from messages import Session
from primitives import Coins, Refused, identity_key, le, number


def receive():
    """The next frame, or None at the end."""
    size = sys.stdin.buffer.read(4)
    return sys.stdin.buffer.read(number(size)) if len(size) == 4 else None


def send(message):
    sys.stdout.buffer.write(le(len(message), 4) + message)
    sys.stdout.buffer.flush()


def main():
    about = json.loads(receive())
    named = {name: bytes.fromhex(value) for name, value in about["bytes"].items()}
    digests = (named["nonce"], named["model_digest"], named["plan_digest"])
    session = Session(named["parameters"], about["round"], *digests)
    trust = (named["authority"], named["federation"])
    secret = named["identity"]
    identity = Identity(secret, identity_key(secret), named["credential"], trust)
    policy = Policy(session.model, about["sigma"], about["corrupt"], 3, 3)
    client = Client(session, policy, identity, Coins(named["coins"]), about["now"])
    send(client.step())
    while (message := receive()) is not None:
        answer = client.receive(message)
        send(client.mask(about["input"]) if answer is None else answer)


if __name__ == "__main__":
    try:
        main()
    except Refused as refused:
        sys.exit(str(refused))
