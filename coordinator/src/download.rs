//! The weights as nodes get them: the file of the last round, or a copy of it in fewer bits.
//!
//! The copy has each tensor under its name, as F32, BF16 or I8; the scales of I8 are F32 under the name
//! with `.scale`, one for each index of the first dimension. Where weights are pruned, a matrix of F32 or
//! BF16 can have only those of its elements that are not zero, as a vector, and a bitmap (U8) under its name
//! with `.nonzero`. The copy is the same for the same weights, so that
//! a coordinator that is started again announces the same digest.

use std::borrow::Cow;

use safetensors::{Dtype, View};
use secagg_learning::{
    download::{Coding, Int8Rows, NOT_ZERO, SCALES, WeightsDown, bitmap, to_bf16},
    weights::{Shapes, WeightsError},
};

use crate::model::ModelFile;

/// What nodes get of a file of weights, of which some may be `pruned`.
///
/// # Errors
/// [`WeightsError`] where the file is not the model's; [`WeightsError::ScaleName`] where a tensor has
/// the name that another's scales need.
pub(crate) fn file_down(
    shapes: &Shapes,
    file: &ModelFile,
    down: WeightsDown,
    pruned: bool,
) -> Result<ModelFile, WeightsError> {
    if down == WeightsDown::F32 && !pruned {
        return Ok(file.clone());
    }
    let flat = shapes.flat(&file.bytes)?;
    let mut rest = flat.as_slice();
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (name, dimensions) in shapes.tensors() {
        let of = [SCALES, NOT_ZERO].map(|suffix| name.strip_suffix(suffix));
        if let Some(of) = of.into_iter().flatten().next()
            && shapes.tensors().any(|(other, _)| other == of)
        {
            let name = name.to_owned();
            return Err(WeightsError::ScaleName { name });
        }
        let (elements, after) = rest.split_at(dimensions.iter().product());
        rest = after;
        let mut add = |name: &str, kind, shape: &[usize], data| {
            let shape = Vec::from(shape);
            let tensor = Tensor { kind, shape, data };
            tensors.push((name.to_owned(), tensor));
        };
        if pruned && down.skips_zeros(dimensions, elements) {
            let others: Vec<f32> = elements.iter().copied().filter(|x| *x != 0.0).collect();
            let (kind, data) = match down {
                WeightsDown::F32 => (Dtype::F32, floats(&others)),
                _ => (Dtype::BF16, halves(&others)),
            };
            add(name, kind, &[others.len()], data);
            let bitmap = bitmap(elements);
            add(
                &format!("{name}{NOT_ZERO}"),
                Dtype::U8,
                &[bitmap.len()],
                bitmap,
            );
            continue;
        }
        match down.coding(dimensions) {
            Coding::F32 => add(name, Dtype::F32, dimensions, floats(elements)),
            Coding::Bf16 => add(name, Dtype::BF16, dimensions, halves(elements)),
            Coding::Int8 { columns } => {
                let rows = Int8Rows::nearest(columns, elements);
                let weights = rows.weights.iter().map(|weight| weight.cast_unsigned());
                add(name, Dtype::I8, dimensions, weights.collect());
                let scales = format!("{name}{SCALES}");
                add(&scales, Dtype::F32, &dimensions[..1], floats(&rows.scales));
            }
        }
    }
    Ok(ModelFile::new(safetensors::serialize(tensors, None)?))
}

fn floats(elements: &[f32]) -> Vec<u8> {
    elements.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn halves(elements: &[f32]) -> Vec<u8> {
    let halves = elements.iter().map(|&x| to_bf16(x).to_le_bytes());
    halves.flatten().collect()
}

struct Tensor {
    kind: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.kind
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.data.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use secagg_learning::weights::FloatView;

    use super::*;

    fn file(tensors: &[(&str, &[usize])]) -> ModelFile {
        let elements: Vec<f32> = (0..40_000_u16)
            .map(|n| f32::from(n % 251) - 125.0)
            .collect();
        let views = tensors.iter().map(|(name, shape)| {
            let elements = &elements[..shape.iter().product()];
            (*name, FloatView { shape, elements })
        });
        ModelFile::new(safetensors::serialize(views, None).unwrap())
    }

    #[test]
    fn a_copy_is_smaller_and_always_the_same() {
        let weights = file(&[("bias", &[9]), ("matrix", &[400, 100])]);
        let shapes = Shapes::read(&weights.bytes).unwrap();
        let down = |down| file_down(&shapes, &weights, down, false).unwrap();
        assert_eq!(down(WeightsDown::F32).digest, weights.digest);
        let of = |file: &ModelFile| -> Vec<(String, Dtype, Vec<usize>)> {
            let tensors = SafeTensors::deserialize(&file.bytes).unwrap();
            let mut all: Vec<_> = tensors
                .iter()
                .map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec()))
                .collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            all
        };
        let tensor = |name: &str, kind, shape: &[usize]| (name.to_owned(), kind, shape.to_vec());
        let half = down(WeightsDown::Bf16);
        assert_eq!(
            of(&half),
            [
                tensor("bias", Dtype::BF16, &[9]),
                tensor("matrix", Dtype::BF16, &[400, 100])
            ]
        );
        let quarter = down(WeightsDown::Int8);
        assert_eq!(
            of(&quarter),
            [
                tensor("bias", Dtype::BF16, &[9]),
                tensor("matrix", Dtype::I8, &[400, 100]),
                tensor("matrix.scale", Dtype::F32, &[400])
            ]
        );
        let ratio = |file: &ModelFile| file.bytes.len() as f64 / weights.bytes.len() as f64;
        assert!(
            ratio(&half) <= 0.51 && ratio(&quarter) <= 0.27,
            "{}",
            ratio(&quarter)
        );
        assert_eq!(down(WeightsDown::Int8).digest, quarter.digest);
    }

    #[test]
    fn a_tensor_with_the_name_of_scales_is_refused() {
        let weights = file(&[("a", &[10, 10]), ("a.scale", &[10])]);
        let shapes = Shapes::read(&weights.bytes).unwrap();
        match file_down(&shapes, &weights, WeightsDown::Int8, false) {
            Err(WeightsError::ScaleName { name }) => assert_eq!(name, "a.scale"),
            other => panic!("{other:?}"),
        }
        assert!(file_down(&shapes, &weights, WeightsDown::F32, false).is_ok());
    }

    #[test]
    fn zeros_of_pruned_matrices_are_left_out() {
        let mut elements = vec![0.0_f32; 80];
        for place in (0..80).step_by(4) {
            elements[place] = 1.0 + place as f32;
        }
        let views = [("bias", [80].as_slice()), ("matrix", &[8, 10])];
        let views = views.map(|(name, shape)| {
            let elements = elements.as_slice();
            (name, FloatView { shape, elements })
        });
        let weights = ModelFile::new(safetensors::serialize(views, None).unwrap());
        let shapes = Shapes::read(&weights.bytes).unwrap();
        for (down, kind, bytes) in [
            (WeightsDown::F32, Dtype::F32, 4),
            (WeightsDown::Bf16, Dtype::BF16, 2),
        ] {
            let file = file_down(&shapes, &weights, down, true).unwrap();
            let tensors = SafeTensors::deserialize(&file.bytes).unwrap();
            let of = |name: &str| {
                let view = tensors.tensor(name).unwrap();
                (view.dtype(), view.shape().to_vec(), view.data().to_vec())
            };
            assert_eq!(tensors.len(), 3);
            assert_eq!(of("bias").1, [80]);
            let (found, shape, data) = of("matrix");
            assert_eq!((found, shape, data.len()), (kind, vec![20], 20 * bytes));
            assert_eq!(of("matrix.nonzero"), (Dtype::U8, vec![10], vec![0x11; 10]));
        }
        // As they are where the coordinator does not prune, and in 8 bits.
        let whole = file_down(&shapes, &weights, WeightsDown::F32, false).unwrap();
        assert_eq!(whole.digest, weights.digest);
        let rows = file_down(&shapes, &weights, WeightsDown::Int8, true).unwrap();
        let tensors = SafeTensors::deserialize(&rows.bytes).unwrap();
        assert_eq!(tensors.tensor("matrix").unwrap().shape(), [8, 10]);
    }
}
