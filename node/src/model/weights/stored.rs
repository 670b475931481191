//! Tensors of a file, in as many bits as they are stored in.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secagg_learning::download::{Int8Rows, SCALES, from_bf16};

use super::{TensorShape, WeightsError};

/// Whether a tensor of the file holds the scales of another, which has 8 bits.
pub(super) fn are_scales(file: &SafeTensors<'_>, name: &str, known: impl Fn(&str) -> bool) -> bool {
    let of = name.strip_suffix(SCALES).filter(|of| known(of));
    let of = of.and_then(|of| file.tensor(of).ok());
    of.is_some_and(|tensor| tensor.dtype() == Dtype::I8)
}

/// Appends the elements of a tensor, which has the model's shape.
pub(super) fn read(
    file: &SafeTensors<'_>,
    shape: &TensorShape,
    tensor: &TensorView<'_>,
    values: &mut Vec<f32>,
) -> Result<(), WeightsError> {
    match tensor.dtype() {
        Dtype::F32 => values.extend(floats(tensor)),
        Dtype::BF16 => {
            let (elements, _) = tensor.data().as_chunks::<2>();
            let elements = elements.iter().map(|&bytes| u16::from_le_bytes(bytes));
            values.extend(elements.map(from_bf16));
        }
        // A vector has no rows.
        Dtype::I8 if shape.dimensions.len() > 1 => {
            let rows = Int8Rows {
                weights: tensor
                    .data()
                    .iter()
                    .map(|byte| byte.cast_signed())
                    .collect(),
                scales: scales(file, shape)?,
            };
            values.extend(rows.values());
        }
        other => {
            return Err(WeightsError::Kind {
                name: shape.name.clone(),
                found: format!("{other:?}"),
            });
        }
    }
    Ok(())
}

/// One for each index of the first dimension.
fn scales(file: &SafeTensors<'_>, shape: &TensorShape) -> Result<Vec<f32>, WeightsError> {
    let name = format!("{}{SCALES}", shape.name);
    let Ok(scales) = file.tensor(&name) else {
        return Err(WeightsError::Missing { name });
    };
    let expected = &shape.dimensions[..1];
    if scales.shape() != expected {
        return Err(WeightsError::Shape {
            name,
            found: scales.shape().to_vec(),
            expected: expected.to_vec(),
        });
    }
    if scales.dtype() != Dtype::F32 {
        let found = format!("{:?}", scales.dtype());
        return Err(WeightsError::Kind { name, found });
    }
    Ok(floats(&scales).collect())
}

fn floats<'a>(tensor: &TensorView<'a>) -> impl Iterator<Item = f32> + 'a {
    let (elements, _) = tensor.data().as_chunks::<4>();
    elements.iter().map(|&bytes| f32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use secagg_learning::WeightsDown;
    use secagg_learning::download::{Coding, to_bf16};

    use super::super::Weights;
    use super::*;
    use crate::model::{ModelDescription, Sizes};

    fn description() -> ModelDescription {
        let sizes = Sizes {
            vocabulary: 40,
            embedding: 10,
            units: 12,
            output_bias: true,
        };
        ModelDescription::cifg_lstm(sizes, 1).unwrap()
    }

    type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

    /// As a coordinator writes it.
    fn stored(weights: &Weights, down: WeightsDown) -> Vec<Stored> {
        let mut rest = weights.values();
        let mut tensors = Vec::new();
        for shape in weights.shapes() {
            let (values, after) = rest.split_at(shape.elements());
            rest = after;
            let (name, dimensions) = (shape.name.clone(), shape.dimensions.clone());
            let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
            match down.coding(&dimensions) {
                Coding::F32 => tensors.push((name, Dtype::F32, dimensions, bytes(values))),
                Coding::Bf16 => {
                    let data = values.iter().flat_map(|&x| to_bf16(x).to_le_bytes());
                    tensors.push((name, Dtype::BF16, dimensions, data.collect()));
                }
                Coding::Int8 { columns } => {
                    let rows = Int8Rows::nearest(columns, values);
                    let (scales, rows_of) = (format!("{name}{SCALES}"), vec![dimensions[0]]);
                    let data = rows.weights.iter().map(|x| x.cast_unsigned()).collect();
                    tensors.push((name, Dtype::I8, dimensions, data));
                    tensors.push((scales, Dtype::F32, rows_of, bytes(&rows.scales)));
                }
            }
        }
        tensors
    }

    fn read_back(tensors: &[Stored]) -> Result<Weights, WeightsError> {
        let views = tensors.iter().map(|(name, kind, shape, data)| {
            let view = TensorView::new(*kind, shape.clone(), data).unwrap();
            (name.as_str(), view)
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        Weights::from_safetensors(&bytes, &description())
    }

    #[test]
    fn weights_in_fewer_bits_are_those_that_everybody_receives() {
        let weights = Weights::initial(&description());
        for down in [WeightsDown::F32, WeightsDown::Bf16, WeightsDown::Int8] {
            let tensors = stored(&weights, down);
            let of_8_bits = tensors.iter().any(|tensor| tensor.1 == Dtype::I8);
            assert_eq!(of_8_bits, down == WeightsDown::Int8);
            let mut expected = weights.values().to_vec();
            let shapes = weights.shapes().iter();
            down.received(
                shapes.map(|shape| shape.dimensions.as_slice()),
                &mut expected,
            );
            assert_eq!(read_back(&tensors).unwrap().values(), expected, "{down:?}");
            let changed = expected != weights.values();
            assert_eq!(changed, down != WeightsDown::F32);
        }
    }

    #[test]
    fn wrong_scales_are_named() {
        let tensors = stored(&Weights::initial(&description()), WeightsDown::Int8);
        let at = tensors
            .iter()
            .position(|tensor| tensor.0 == "embedding.scale")
            .unwrap();
        let with = |change: &dyn Fn(&mut Vec<Stored>)| {
            let mut changed = tensors.clone();
            change(&mut changed);
            read_back(&changed).unwrap_err()
        };
        let name = || "embedding.scale".to_owned();
        let missing = with(&|all| drop(all.remove(at)));
        assert_eq!(missing, WeightsError::Missing { name: name() });
        let short = with(&|all| {
            all[at].2 = vec![39];
            all[at].3.truncate(4 * 39);
        });
        let (found, expected) = (vec![39], vec![40]);
        let shape = WeightsError::Shape {
            name: name(),
            found,
            expected,
        };
        assert_eq!(short, shape);
        let integers = with(&|all| all[at].1 = Dtype::I32);
        let found = "I32".to_owned();
        assert_eq!(
            integers,
            WeightsError::Kind {
                name: name(),
                found
            }
        );
        let infinite = with(&|all| all[at].3[..4].copy_from_slice(&f32::NAN.to_le_bytes()));
        assert!(
            matches!(&infinite, WeightsError::NotFinite { name, .. } if name == "embedding"),
            "{infinite}"
        );
        // Scales of nothing, and of a tensor that has none.
        for other in ["bias.scale", "output_bias.scale"] {
            let unexpected = with(&|all| all[at].0 = other.to_owned());
            let name = other.to_owned();
            assert_eq!(unexpected, WeightsError::Unexpected { name });
        }
        let vector = tensors
            .iter()
            .position(|tensor| tensor.0 == "output_bias")
            .unwrap();
        let without_rows = with(&|all| {
            all[vector].1 = Dtype::I8;
            all[vector].3.truncate(40);
        });
        assert!(
            matches!(&without_rows, WeightsError::Kind { name, .. } if name == "output_bias"),
            "{without_rows}"
        );
    }
}
