use super::*;
use crate::model::Sizes;
use crate::vocabulary::TextUnits;

const SIZES: Sizes = Sizes {
    vocabulary: 6,
    embedding: 2,
    units: 3,
    output_bias: true,
};

fn description() -> ModelDescription {
    ModelDescription::cifg_lstm(SIZES, 1).unwrap()
}

/// A safetensors file in which one tensor is another.
fn file(replaced: &str, name: &str, dtype: Dtype, shape: Vec<usize>) -> Vec<u8> {
    let data = vec![0_u8; shape.iter().product::<usize>() * dtype.bitsize() / 8];
    let zeros = vec![0_u8; 4096];
    let description = description();
    let mut tensors = Vec::new();
    for own in description.shapes() {
        let view = if own.name == replaced {
            (name, TensorView::new(dtype, shape.clone(), &data).unwrap())
        } else {
            let bytes = &zeros[..4 * own.elements()];
            let view = TensorView::new(Dtype::F32, own.dimensions.clone(), bytes).unwrap();
            (own.name.as_str(), view)
        };
        tensors.push(view);
    }
    safetensors::serialize(tensors, None).unwrap()
}

#[test]
fn safetensors_and_weights_are_the_same_thing() {
    let weights = Weights::initial(&description());
    let bytes = weights.to_safetensors();
    assert_eq!(
        Weights::from_safetensors(&bytes, &description()),
        Ok(weights)
    );
}

#[test]
fn initial_weights_follow_the_seed() {
    let other = ModelDescription::cifg_lstm(SIZES, 2).unwrap();
    assert_eq!(
        Weights::initial(&description()),
        Weights::initial(&description())
    );
    assert_ne!(Weights::initial(&description()), Weights::initial(&other));
    assert_eq!(Weights::initial(&other).values()[..9], [0.0; 9]);
}

#[test]
fn a_wrong_name_is_refused() {
    let bytes = file("cell_bias", "cell_bios", Dtype::F32, vec![9]);
    assert_eq!(
        Weights::from_safetensors(&bytes, &description()),
        Err(WeightsError::Unexpected {
            name: "cell_bios".to_owned()
        })
    );
    let sizes = Sizes {
        output_bias: false,
        ..SIZES
    };
    let without = ModelDescription::cifg_lstm(sizes, 1).unwrap();
    let bytes = Weights::initial(&without).to_safetensors();
    assert_eq!(
        Weights::from_safetensors(&bytes, &description()),
        Err(WeightsError::Missing {
            name: "output_bias".to_owned()
        })
    );
}

#[test]
fn a_wrong_shape_is_refused_even_with_as_many_elements() {
    let bytes = file("projection", "projection", Dtype::F32, vec![3, 2]);
    assert_eq!(
        Weights::from_safetensors(&bytes, &description()),
        Err(WeightsError::Shape {
            name: "projection".to_owned(),
            found: vec![3, 2],
            expected: vec![2, 3]
        })
    );
}

#[test]
fn a_wrong_kind_is_refused() {
    for dtype in [Dtype::F64, Dtype::F16, Dtype::I32] {
        let bytes = file("projection", "projection", dtype, vec![2, 3]);
        assert_eq!(
            Weights::from_safetensors(&bytes, &description()),
            Err(WeightsError::Kind {
                name: "projection".to_owned(),
                found: format!("{dtype:?}")
            })
        );
    }
}

#[test]
fn what_is_not_finite_is_refused_and_named() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = Weights::initial(&description()).into_values();
        values[9 + 4] = value;
        assert_eq!(
            Weights::new(&description(), values),
            Err(WeightsError::NotFinite {
                name: "cell_input".to_owned(),
                index: 4,
                value: value.to_string()
            })
        );
    }
}

#[test]
fn a_wrong_length_and_what_is_no_safetensors_file_are_refused() {
    let expected = description().parameters();
    assert_eq!(
        Weights::new(&description(), vec![0.0; expected + 1]),
        Err(WeightsError::Length {
            found: expected + 1,
            expected
        })
    );
    let mut bytes = Weights::initial(&description()).to_safetensors();
    bytes.pop();
    let error = Weights::from_safetensors(&bytes, &description()).unwrap_err();
    assert!(matches!(error, WeightsError::Syntax { .. }), "{error}");
}

#[test]
fn a_tokenizers_tokens_start_equally_probable() {
    let bias = |text: Tokenization| {
        let architecture = description().architecture();
        let description = ModelDescription::of(text, architecture, 1).unwrap();
        let weights = Weights::initial(&description);
        let mut start = 0;
        for shape in weights.shapes() {
            if shape.name == "output_bias" {
                return weights.values()[start..start + shape.elements()].to_vec();
            }
            start += shape.elements();
        }
        panic!("no bias")
    };
    let words = bias(TextUnits::Words.into());
    assert!(words[4] > words[5] && words[4] == words[END as usize]);
    let tokens = bias(Tokenization::Tokenizer);
    assert!(tokens[4..].iter().all(|bias| *bias == tokens[END as usize]));
    for never in [PAD, BEGIN] {
        assert!(tokens[never as usize] < tokens[4] - 9.0, "{tokens:?}");
    }
}
