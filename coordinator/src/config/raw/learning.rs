//! What is learnt and how an update is sent: `[update]`, `[training]` and `[evolution]`.

use secagg_learning::{
    Budget, Compression, Evolution, LocalOptimizer, Precision, Rotated, Schedule, TrainingPlan,
};
use secagg_wire::steps::MAX_STEPS;

use super::super::{
    ConfigError, DEFAULT_TRAINING, DEFAULT_UPDATE, UpdateSettings,
    check::{number, whole},
};

table! {
    RawUpdate {
        clip_norm: f32 = DEFAULT_UPDATE.clip_norm,
        range: f32 = DEFAULT_UPDATE.range,
        value_bits: i64 = i64::from(DEFAULT_UPDATE.value_bits),
        weight_cap: i64 = i64::from(DEFAULT_UPDATE.weight_cap),
        rotation_range: f32 = 0.0,
        fraction: f32 = 1.0,
        feedback: bool = false,
        tensors: Vec<String> = Vec::new(),
    }
}

table! {
    RawTraining {
        epochs: Option<i64> = None,
        steps: Option<i64> = None,
        seconds: Option<i64> = None,
        batch: i64 = i64::from(DEFAULT_TRAINING.batch),
        accumulate: i64 = i64::from(DEFAULT_TRAINING.accumulate),
        optimizer: LocalOptimizer = DEFAULT_TRAINING.optimizer,
        schedule: Schedule = DEFAULT_TRAINING.schedule,
        weight_decay: f32 = DEFAULT_TRAINING.weight_decay,
        proximal: f32 = DEFAULT_TRAINING.proximal,
        dropout: f32 = DEFAULT_TRAINING.dropout,
        gradient_clip: f32 = DEFAULT_TRAINING.gradient_clip,
        max_examples: i64 = i64::from(DEFAULT_TRAINING.max_examples),
        max_words: i64 = i64::from(DEFAULT_TRAINING.max_words),
        precision: Precision = DEFAULT_TRAINING.precision,
    }
}

table! { RawEvolution { pairs: i64 = 0, sigma: f32 = 0.01, keep_steps: i64 = i64::from(MAX_STEPS), } }

impl RawUpdate {
    pub(super) fn check(self) -> Result<UpdateSettings, ConfigError> {
        Ok(UpdateSettings {
            clip_norm: self.clip_norm,
            range: self.range,
            // The plan has the exact range, and names it.
            value_bits: u8::try_from(whole("update.value_bits", self.value_bits, 0..=255)?)
                .unwrap_or(u8::MAX),
            weight_cap: whole("update.weight_cap", self.weight_cap, 1..=u32::MAX)?,
            compression: Compression {
                rotation: match self.rotation_range {
                    0.0 => None,
                    range => Some(Rotated {
                        range: number("update.rotation_range", range, 0.01..=65_536.0)?,
                    }),
                },
                fraction: number("update.fraction", self.fraction, 1e-6..=1.0)?,
                feedback: self.feedback,
            },
            tensors: self.tensors,
        })
    }
}

impl RawTraining {
    pub(super) fn check(self) -> Result<TrainingPlan, ConfigError> {
        Ok(TrainingPlan {
            budget: self.budget()?,
            batch: whole("training.batch", self.batch, 1..=65_536)?,
            accumulate: whole("training.accumulate", self.accumulate, 1..=1024)?,
            optimizer: self.optimizer,
            // The plan has the ranges of the floats, and names them.
            schedule: self.schedule,
            weight_decay: self.weight_decay,
            proximal: self.proximal,
            dropout: self.dropout,
            gradient_clip: self.gradient_clip,
            max_examples: whole("training.max_examples", self.max_examples, 0..=u32::MAX)?,
            max_words: whole("training.max_words", self.max_words, 1..=4096)?,
            precision: self.precision,
        })
    }

    fn budget(&self) -> Result<Budget, ConfigError> {
        let lengths = [
            ("training.epochs", self.epochs),
            ("training.steps", self.steps),
            ("training.seconds", self.seconds),
        ];
        let given = lengths.map(|(key, value)| value.map(|_| key));
        let given: Vec<&str> = given.into_iter().flatten().collect();
        if given.len() > 1 {
            let given = given.join(" and ");
            return Err(ConfigError::TrainingLengths { given });
        }
        let [epochs, steps, seconds] = lengths;
        Ok(match (epochs.1, steps.1, seconds.1) {
            (_, Some(value), _) => Budget::Steps(whole(steps.0, value, 1..=1_000_000)?),
            (_, _, Some(value)) => Budget::Seconds(whole(seconds.0, value, 1..=86_400)?),
            (Some(value), ..) => Budget::Epochs(whole(epochs.0, value, 1..=1000)?),
            (None, None, None) => DEFAULT_TRAINING.budget,
        })
    }
}

impl RawEvolution {
    pub(super) fn check(self) -> Result<(Option<Evolution>, usize), ConfigError> {
        let pairs = whole("evolution.pairs", self.pairs, 0..=65_536)?;
        let keep = whole("evolution.keep_steps", self.keep_steps, 0..=MAX_STEPS)?;
        // The plan has the range of sigma, and names it.
        let evolution = (pairs > 0).then_some(Evolution {
            pairs,
            sigma: self.sigma,
        });
        Ok((evolution, keep as usize))
    }
}
