use super::*;
use crate::demo::packed::tests::{pack, pseudorandom};
use crate::demo::tensors;

#[test]
fn noise_passes_and_an_update_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (words, columns, bits) = (300, 16, 20);
    let elements = words * columns;
    let clear: Vec<f32> = (0..elements)
        .map(|n| f32::from(u16::try_from(n * n % 97).unwrap()) - 48.0)
        .collect();
    let bytes: Vec<u8> = clear.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path("update-clear.f32"), &bytes).unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 1480"
    )]
    let numbers: Vec<u64> = clear
        .iter()
        .map(|&value| (value * 10.0 + 1000.0) as u64)
        .collect();
    let counters = [0; 42];
    fs::write(
        path("quantised.bin"),
        [&pack(&numbers, bits)[..], &counters].concat(),
    )
    .unwrap();
    let masked: Vec<u64> = pseudorandom(u32::try_from(elements).unwrap())
        .iter()
        .zip(&numbers)
        .map(|(mask, number)| (mask + number) % (1 << bits))
        .collect();
    let masked = [&pack(&masked, bits)[..], &counters].concat();
    fs::write(path("masked.bin"), &masked).unwrap();
    let zero = vec![0.0; elements];
    tensors::write(&path("before"), &[(TENSOR, &[words, columns], &zero)]);
    tensors::write(&path("after"), &[(TENSOR, &[words, columns], &clear)]);
    let exhibit = Exhibit::new(Sources {
        node: "hana",
        round: 2,
        contributors: 10,
        step: Step::Linear {
            rate: 1.0,
            momentum: 0.0,
        },
        earlier: None,
        dump: folder.path(),
        bits,
        received_blake3: blake3::hash(&masked).to_hex().as_ref(),
        before: &path("before"),
        after: &path("after"),
    })
    .unwrap();
    assert!(exhibit.hashes_agree());
    assert!(exhibit.masked.looks_like_noise, "{exhibit:?}");
    assert!(exhibit.unmasked.fails_both(), "{exhibit:?}");
    assert!(exhibit.unmasked.correlation > 0.99);
    assert!((exhibit.sum_correlation - 1.0).abs() < 1e-9);
    let sizes = exhibit.pictures.unwrap().map(|picture| picture.size());
    assert_eq!(sizes, [(96, 16); 3]);
}

#[test]
fn the_palette_is_neutral_in_the_middle() {
    let palette = palette();
    assert_eq!(palette.len(), 255);
    assert_eq!(palette[usize::from(level(0.0, 2.0))], [244, 243, 238]);
    assert_eq!(
        (level(-9.0, 2.0), level(9.0, 2.0), level(1.0, 0.0)),
        (0, 254, 127)
    );
}

#[test]
fn the_mean_is_told_from_how_the_weights_moved() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |name: &str, value: f32| {
        let path = folder.path().join(name);
        tensors::write(&path, &[(TENSOR, &[1], &[value])]);
        Tensors::read(&path).unwrap()
    };
    // Means of 4 and 1 with a rate of 0.5 and a momentum of 0.25: the weights move by 2, then by
    // half of 0.25 · 4 + 1.
    let [earlier, before, after] =
        [("a", 10.0), ("b", 12.0), ("c", 13.0)].map(|(n, v)| weights(n, v));
    let step = Step::Linear {
        rate: 0.5,
        momentum: 0.25,
    };
    assert_eq!(decoded(step, &earlier, &before, &after), [1.0]);
    assert_eq!(decoded(step, &earlier, &earlier, &before), [4.0]);
    assert_eq!(decoded(Step::Adaptive, &earlier, &before, &after), [1.0]);
}
