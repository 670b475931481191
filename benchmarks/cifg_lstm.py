"""The CIFG-LSTM of `node/src/model/cifg_lstm.rs` in PyTorch, trained on the same text: what `cargo xtask
bench --part training` compares with.

It is written as somebody would who knows PyTorch: no padding, the input's part of all gates in one
product, `lerp`, the loss in one call, the library's own Adam. Same weights to start from, same vocabulary,
same batches but for their order, same clip. Prints one JSON object.
"""

import argparse
import json
import random
import re
import resource
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

UNKNOWN, BEGIN, END = 1, 2, 3
WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
MOST_WORDS = 29


class CifgLstm(torch.nn.Module):
    """Hard et al. 2018: forget gate, output gate and candidate, with a projection and a tied output layer."""

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name, torch.nn.Parameter(value.clone()))

    def forward(self, tokens, active):
        inputs = torch.addmm(self.cell_bias, self.embedding[tokens], self.cell_input.t())
        recurrent, projection = self.cell_recurrent.t(), self.projection.t()
        state = torch.zeros(active[0], self.projection.shape[0])
        cell = torch.zeros(active[0], self.projection.shape[1])
        states = []
        for step, running in zip(inputs.split(active), active):
            state, cell = state[:running], cell[:running]
            forget, output, candidate = torch.addmm(step, state, recurrent).chunk(3, 1)
            cell = torch.lerp(candidate.tanh(), cell, forget.sigmoid())
            state = (output.sigmoid() * cell.tanh()) @ projection
            states.append(state)
        return torch.addmm(self.output_bias, torch.cat(states), self.embedding.t())


def read(path, vocabulary):
    numbers = {word: number for number, word in enumerate(vocabulary)}
    messages = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"] if path.endswith(".jsonl") else line
        words = WORD.findall(text.lower())[:MOST_WORDS]
        if words:
            messages.append([BEGIN, *(numbers.get(word, UNKNOWN) for word in words), END])
    return messages


def pack(messages):
    """Tokens step by step, how many messages each step has, and the right answers."""
    messages = sorted(messages, key=len, reverse=True)
    tokens, targets, active = [], [], []
    for step in range(len(messages[0]) - 1):
        running = [message for message in messages if len(message) > step + 1]
        tokens += [message[step] for message in running]
        targets += [message[step + 1] for message in running]
        active.append(len(running))
    return torch.tensor(tokens), active, torch.tensor(targets)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--clip", type=float, default=5.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(arguments.model)
    vocabulary = (folder / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    messages = read(arguments.text, vocabulary)
    model = CifgLstm(load_file(folder / "initial.safetensors"))
    loss_sum, count = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(messages), 256):
            tokens, active, targets = pack(messages[start : start + 256])
            scores = model(tokens, active)
            loss_sum += torch.nn.functional.cross_entropy(scores, targets, reduction="sum").item()
            count += len(targets)
    order = list(range(len(messages)))
    random.Random(1).shuffle(order)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.rate)
    started, steps, trained = time.perf_counter(), 0, 0
    for start in range(0, len(order), arguments.batch):
        tokens, active, targets = pack([messages[i] for i in order[start : start + arguments.batch]])
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(tokens, active), targets)
        loss.item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), arguments.clip)
        optimizer.step()
        steps, trained = steps + 1, trained + len(targets)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "version": torch.__version__,
                "loss": loss_sum / count,
                "tokens": trained,
                "seconds": seconds,
                "milliseconds_a_step": 1000 * seconds / steps,
                "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            }
        )
    )


if __name__ == "__main__":
    main()
