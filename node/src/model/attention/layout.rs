//! Packed positions, laid out for attention: messages of like length side by side, with padding.

use tch::Tensor;

/// Where the positions of a batch lie in the messages, and in groups of messages of like length. Padded
/// positions are never more than twice those that there are.
#[derive(Debug)]
pub(in super::super) struct Layout {
    /// Each position's place in its message, or in its part of a message longer than the context.
    places: Tensor,
    groups: Vec<Group>,
    /// Where each position lies among all groups' positions.
    back: Tensor,
    padded: bool,
}

/// Messages of like length.
#[derive(Debug)]
struct Group {
    messages: i64,
    length: i64,
    /// The positions of one message after the other; padding is the message's first one.
    positions: Tensor,
}

/// A message, or a part of one that is longer than the context.
struct Part {
    message: usize,
    first: usize,
    length: usize,
}

impl Layout {
    /// For messages that are packed step by step, `active` of them in each step, and cut where they are
    /// longer than the context. For causal attention: padded.
    pub(in super::super) fn new(active: &[i64], context: usize) -> Self {
        let active: Vec<usize> = active
            .iter()
            .map(|&running| usize::try_from(running).expect("a number of messages"))
            .collect();
        let starts = starts(&active);
        let mut parts = parts(&active, context);
        // Stable: the same batch is always laid out the same way.
        parts.sort_by_key(|part| std::cmp::Reverse(part.length));
        let mut groups = Vec::new();
        let mut rest = parts.as_slice();
        while let Some(longest) = rest.first() {
            let alike = rest.partition_point(|part| 2 * part.length >= longest.length);
            let (group, after) = rest.split_at(alike);
            rest = after;
            groups.push(group);
        }
        Self::of(&groups, active.iter().sum(), |part, place| {
            starts[part.first + place] + part.message
        })
    }

    /// For texts that are packed one after the other, with these lengths, in groups of so many of them.
    /// Each group's longest text is its first one.
    pub(in super::super) fn of_texts(lengths: &[usize], groups: &[usize]) -> Self {
        let starts = starts(lengths);
        let parts: Vec<Part> = lengths
            .iter()
            .enumerate()
            .map(|(message, &length)| Part {
                message,
                first: 0,
                length,
            })
            .collect();
        let mut rest = parts.as_slice();
        let groups: Vec<&[Part]> = groups
            .iter()
            .map(|&texts| {
                let (group, after) = rest.split_at(texts);
                rest = after;
                group
            })
            .collect();
        Self::of(&groups, lengths.iter().sum(), |part, place| {
            starts[part.message] + place
        })
    }

    /// Groups of parts whose first is the longest; `packed` says where a place of a part is packed.
    fn of(parts: &[&[Part]], positions: usize, packed: impl Fn(&Part, usize) -> usize) -> Self {
        let mut places = vec![0; positions];
        let mut back = vec![0; positions];
        let mut groups = Vec::with_capacity(parts.len());
        let mut laid_out = 0;
        for group in parts {
            let length = group.first().map_or(0, |longest| longest.length);
            let mut gathered = Vec::with_capacity(group.len() * length);
            for part in *group {
                for place in 0..length {
                    if place < part.length {
                        let position = packed(part, place);
                        places[position] = as_index(place);
                        back[position] = as_index(laid_out + gathered.len());
                        gathered.push(as_index(position));
                    } else {
                        gathered.push(as_index(packed(part, 0)));
                    }
                }
            }
            laid_out += gathered.len();
            groups.push(Group {
                messages: as_index(group.len()),
                length: as_index(length),
                positions: Tensor::from_slice(&gathered),
            });
        }
        Self {
            places: Tensor::from_slice(&places),
            groups,
            back: Tensor::from_slice(&back),
            padded: laid_out > positions,
        }
    }

    /// Each position's place in its message: `[positions]`.
    pub(in super::super) fn places(&self) -> &Tensor {
        &self.places
    }

    /// Whether there is any padding.
    pub(super) fn is_padded(&self) -> bool {
        self.padded
    }

    /// For each group a tensor of `[messages, heads, length, elements]`, made of one of `[positions,
    /// heads, elements]`.
    pub(super) fn groups(&self, part: &Tensor) -> impl Iterator<Item = Tensor> {
        let [heads, elements] = [1, 2].map(|axis| part.size()[axis]);
        self.groups.iter().map(move |group| {
            part.index_select(0, &group.positions)
                .view([group.messages, group.length, heads, elements])
                .transpose(1, 2)
        })
    }

    /// Packs such tensors, one for each group: `[positions, heads · elements]`.
    pub(super) fn pack(&self, groups: impl Iterator<Item = Tensor>) -> Tensor {
        let groups = groups.zip(&self.groups).map(|(part, group)| {
            let part = part.transpose(1, 2);
            part.reshape([group.messages * group.length, -1])
        });
        let groups: Vec<Tensor> = groups.collect();
        Tensor::cat(&groups, 0).index_select(0, &self.back)
    }
}

/// Where each of several stretches, one after the other, starts.
fn starts(lengths: &[usize]) -> Vec<usize> {
    let starts = lengths.iter().scan(0, |start, length| {
        Some(std::mem::replace(start, *start + length))
    });
    starts.collect()
}

/// All messages, cut where they are longer than the context.
fn parts(active: &[usize], context: usize) -> Vec<Part> {
    let messages = active.first().copied().unwrap_or(0);
    let mut parts = Vec::with_capacity(messages);
    for message in 0..messages {
        let length = active.partition_point(|&running| running > message);
        for first in (0..length).step_by(context) {
            let length = context.min(length - first);
            parts.push(Part {
                message,
                first,
                length,
            });
        }
    }
    parts
}

fn as_index(number: usize) -> i64 {
    i64::try_from(number).expect("a number of positions in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn messages_of_like_length_lie_together() {
        // Lengths 5, 3, 1, packed: steps begin at 0, 3, 5, 7, 8.
        let layout = Layout::new(&[3, 2, 2, 1, 1], 9);
        assert_eq!(numbers(&layout.places), [0, 0, 0, 1, 1, 2, 2, 3, 4]);
        let [long, short] = layout.groups.as_slice() else {
            panic!("{:?}", layout.groups);
        };
        assert_eq!((long.messages, long.length), (2, 5));
        assert_eq!(numbers(&long.positions), [0, 3, 5, 7, 8, 1, 4, 6, 1, 1]);
        assert_eq!((short.messages, short.length), (1, 1));
        assert_eq!(numbers(&short.positions), [2]);
        assert_eq!(numbers(&layout.back), [0, 5, 10, 1, 6, 2, 7, 3, 4]);
    }

    #[test]
    fn a_message_longer_than_the_context_is_several() {
        let layout = Layout::new(&[1; 7], 3);
        assert_eq!(numbers(&layout.places), [0, 1, 2, 0, 1, 2, 0]);
        let [long, short] = layout.groups.as_slice() else {
            panic!("{:?}", layout.groups);
        };
        assert_eq!((long.messages, long.length), (2, 3));
        assert_eq!((short.messages, short.length), (1, 1));
    }

    #[test]
    fn padding_is_at_most_as_much_as_there_is() {
        // One message of each length from 1 to 100, cut at 64.
        let active: Vec<i64> = (1..=100).rev().collect();
        let layout = Layout::new(&active, 64);
        let padded: i64 = layout
            .groups
            .iter()
            .map(|group| group.messages * group.length)
            .sum();
        assert!(padded <= 2 * active.iter().sum::<i64>(), "{padded}");
        assert!(layout.groups.len() <= 7);
    }
}
