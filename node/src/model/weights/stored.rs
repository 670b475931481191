//! Tensors of a file, in as many bits as they are stored in.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use secagg_learning::download::{Int8Rows, NOT_ZERO, SCALES, bitmap_len, from_bf16};

use super::{TensorShape, WeightsError};

/// Whether a tensor of the file belongs to another: the scales of one of 8 bits, or the bitmap of one
/// without its zeros.
pub(super) fn belongs(file: &SafeTensors<'_>, name: &str, known: impl Fn(&str) -> bool) -> bool {
    let scales = name.strip_suffix(SCALES).filter(|of| known(of));
    let scales = scales.and_then(|of| file.tensor(of).ok());
    let bitmap = name.strip_suffix(NOT_ZERO);
    bitmap.is_some_and(known) || scales.is_some_and(|tensor| tensor.dtype() == Dtype::I8)
}

/// Appends the elements of a tensor.
pub(super) fn read(
    file: &SafeTensors<'_>,
    shape: &TensorShape,
    tensor: &TensorView<'_>,
    values: &mut Vec<f32>,
) -> Result<(), WeightsError> {
    if let Ok(bitmap) = file.tensor(&format!("{}{NOT_ZERO}", shape.name)) {
        return read_without_zeros(shape, tensor, &bitmap, values);
    }
    check_shape(&shape.name, tensor, &shape.dimensions)?;
    read_whole(file, shape, tensor, values)
}

/// What is not zero lies in `tensor`, one after the other, and where it belongs says the bitmap.
fn read_without_zeros(
    shape: &TensorShape,
    tensor: &TensorView<'_>,
    bitmap: &TensorView<'_>,
    values: &mut Vec<f32>,
) -> Result<(), WeightsError> {
    let elements = shape.elements();
    let name = format!("{}{NOT_ZERO}", shape.name);
    if bitmap.dtype() != Dtype::U8 {
        let found = format!("{:?}", bitmap.dtype());
        return Err(WeightsError::Kind { name, found });
    }
    check_shape(&name, bitmap, &[bitmap_len(elements)])?;
    let bits = bitmap.data();
    let bit = |place: usize| {
        bits.get(place / 8)
            .is_some_and(|byte| byte >> (place % 8) & 1 == 1)
    };
    if (elements..8 * bits.len()).any(bit) {
        return Err(WeightsError::Bitmap { name, elements });
    }
    let set = bits.iter().map(|byte| byte.count_ones() as usize).sum();
    check_shape(&shape.name, tensor, &[set])?;
    let mut others = match tensor.dtype() {
        Dtype::F32 => floats(tensor).collect(),
        Dtype::BF16 => halves(tensor).collect::<Vec<_>>(),
        other => {
            return Err(WeightsError::Kind {
                name: shape.name.clone(),
                found: format!("{other:?}"),
            });
        }
    }
    .into_iter();
    values.extend((0..elements).map(|place| match bit(place) {
        true => others.next().unwrap_or(0.0),
        false => 0.0,
    }));
    Ok(())
}

fn check_shape(
    name: &str,
    tensor: &TensorView<'_>,
    expected: &[usize],
) -> Result<(), WeightsError> {
    if tensor.shape() == expected {
        return Ok(());
    }
    Err(WeightsError::Shape {
        name: name.to_owned(),
        found: tensor.shape().to_vec(),
        expected: expected.to_vec(),
    })
}

/// All elements of a tensor, which has the model's shape.
fn read_whole(
    file: &SafeTensors<'_>,
    shape: &TensorShape,
    tensor: &TensorView<'_>,
    values: &mut Vec<f32>,
) -> Result<(), WeightsError> {
    match tensor.dtype() {
        Dtype::F32 => values.extend(floats(tensor)),
        Dtype::BF16 => values.extend(halves(tensor)),
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
    check_shape(&name, &scales, &shape.dimensions[..1])?;
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

fn halves<'a>(tensor: &TensorView<'a>) -> impl Iterator<Item = f32> + 'a {
    let (elements, _) = tensor.data().as_chunks::<2>();
    let elements = elements.iter().map(|&bytes| u16::from_le_bytes(bytes));
    elements.map(from_bf16)
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
    /// The embedding without its zeros, as a coordinator that prunes writes it.
    fn pruned(down: WeightsDown) -> (Vec<Stored>, Vec<f32>) {
        let initial = Weights::initial(&description());
        let mut values = initial.values().to_vec();
        let at = initial.shapes().iter().map(TensorShape::elements);
        let names = initial
            .shapes()
            .iter()
            .position(|shape| shape.name == "embedding");
        let start: usize = at.clone().take(names.unwrap()).sum();
        for place in (start..start + 400).filter(|place| place % 3 > 0) {
            values[place] = 0.0;
        }
        let weights = Weights::new(&description(), values.clone()).unwrap();
        let mut tensors = stored(&weights, down);
        let embedding = tensors
            .iter_mut()
            .find(|tensor| tensor.0 == "embedding")
            .unwrap();
        let elements = &values[start..start + 400];
        assert!(down.skips_zeros(&[40, 10], elements));
        let others = elements.iter().filter(|element| **element != 0.0);
        let count = others.clone().count();
        let data = match down {
            WeightsDown::F32 => others.flat_map(|x| x.to_le_bytes()).collect(),
            _ => others.flat_map(|&x| to_bf16(x).to_le_bytes()).collect(),
        };
        embedding.2 = vec![count];
        embedding.3 = data;
        let bitmap = secagg_learning::download::bitmap(elements);
        tensors.push(("embedding.nonzero".to_owned(), Dtype::U8, vec![50], bitmap));
        let shapes = initial.shapes().iter();
        down.received(shapes.map(|shape| shape.dimensions.as_slice()), &mut values);
        (tensors, values)
    }

    #[test]
    fn zeros_that_were_left_out_come_back() {
        for down in [WeightsDown::F32, WeightsDown::Bf16] {
            let (tensors, expected) = pruned(down);
            assert_eq!(read_back(&tensors).unwrap().values(), expected);
        }
    }

    #[test]
    fn wrong_bitmaps_are_named() {
        let (tensors, _) = pruned(WeightsDown::Bf16);
        let last = tensors.len() - 1;
        let at = tensors
            .iter()
            .position(|tensor| tensor.0 == "embedding")
            .unwrap();
        let with = |change: &dyn Fn(&mut Vec<Stored>)| {
            let mut changed = tensors.clone();
            change(&mut changed);
            read_back(&changed).unwrap_err()
        };
        let shape = |name: &str, found: usize, expected: &[usize]| WeightsError::Shape {
            name: name.to_owned(),
            found: vec![found],
            expected: expected.to_vec(),
        };
        let count = tensors[at].2[0];
        // One bit more than there are elements.
        let more = with(&|all| all[last].3[7] = 0xff);
        assert!(
            matches!(&more, WeightsError::Shape { name, found, .. } if name == "embedding" && *found == [count]),
            "{more}"
        );
        let without = with(&|all| drop(all.remove(last)));
        assert_eq!(without, shape("embedding", count, &[40, 10]));
        let short = with(&|all| {
            all[last].2 = vec![49];
            all[last].3.truncate(49);
        });
        assert_eq!(short, shape("embedding.nonzero", 49, &[50]));
        let name = || "embedding.nonzero".to_owned();
        let signed = with(&|all| all[last].1 = Dtype::I8);
        let found = "I8".to_owned();
        assert_eq!(
            signed,
            WeightsError::Kind {
                name: name(),
                found
            }
        );
        // Bits of nothing: the output bias has 40 elements, so that none are left over; the cell's has 36.
        let beyond = with(&|all| {
            let bias = all
                .iter()
                .position(|tensor| tensor.0 == "cell_bias")
                .unwrap();
            let bits = (
                "cell_bias.nonzero".to_owned(),
                Dtype::U8,
                vec![5],
                vec![0xff; 5],
            );
            assert_eq!(all[bias].2, [36]);
            all.push(bits);
        });
        let bitmap = WeightsError::Bitmap {
            name: "cell_bias.nonzero".to_owned(),
            elements: 36,
        };
        assert_eq!(beyond, bitmap);
        let unexpected = with(&|all| all[last].0 = "nothing.nonzero".to_owned());
        let name = "nothing.nonzero".to_owned();
        assert_eq!(unexpected, WeightsError::Unexpected { name });
        let integers = with(&|all| {
            all[at].1 = Dtype::U16;
        });
        assert!(matches!(&integers, WeightsError::Kind { name, .. } if name == "embedding"));
    }
}
