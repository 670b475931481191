//! One step down: the gradient of the text's loss, clipped; FedProx's pull; the optimiser.

use secagg_learning::{LocalOptimizer, TrainingPlan};
use tch::nn::{Adam, AdamW, Optimizer, OptimizerConfig, Sgd, VarStore};
use tch::{Tensor, no_grad};

use crate::model::{KeptRows, Model};

/// The optimiser with what happens to a gradient before its step.
#[derive(Debug)]
pub(super) struct Descent {
    optimizer: Optimizer,
    rate: f64,
    clip: f64,
    proximal: Option<Proximal>,
    /// Rows that a plan leaves as they are, where it trains others of their tensor.
    kept: KeptRows,
}

impl Descent {
    /// An optimiser without state, for a plan whose values are in their bounds.
    pub(super) fn new(model: &Model, plan: &TrainingPlan) -> Self {
        let variables = model.variables();
        let rate = f64::from(plan.optimizer.rate());
        let wd = f64::from(plan.weight_decay);
        let optimizer = match plan.optimizer {
            LocalOptimizer::Sgd { .. } => Sgd {
                wd,
                ..Sgd::default()
            }
            .build(variables, rate),
            LocalOptimizer::Momentum { beta, .. } => Sgd {
                momentum: f64::from(beta),
                wd,
                ..Sgd::default()
            }
            .build(variables, rate),
            LocalOptimizer::Adam { .. } if wd == 0.0 => Adam::default().build(variables, rate),
            LocalOptimizer::Adam { .. } => AdamW {
                wd,
                ..AdamW::default()
            }
            .build(variables, rate),
        };
        Self {
            optimizer: optimizer.expect("the plan was checked, and the variables are floats"),
            rate,
            clip: f64::from(plan.gradient_clip),
            proximal: (plan.proximal > 0.0).then(|| Proximal::new(variables, plan.proximal)),
            kept: model.frozen().kept(),
        }
    }

    /// Begins a step: no gradient yet. Gradients are added up until [`Descent::finish`].
    pub(super) fn begin(&mut self) {
        self.optimizer.zero_grad();
    }

    /// Steps, with the rate times `factor`.
    ///
    /// The proximal term comes after the clip. The clip is there for a batch with an exploding
    /// gradient; were the pull clipped with it, then weights that have drifted far would be pulled
    /// back less than equation 2 says, and would hear less of their text.
    pub(super) fn finish(&mut self, factor: f64) {
        self.kept.without_gradient();
        self.optimizer.clip_grad_norm(self.clip);
        if let Some(proximal) = &self.proximal {
            proximal.pull();
        }
        self.optimizer.set_lr(self.rate * factor);
        self.optimizer.step();
        self.kept.put_back();
    }
}

/// FedProx's μ/2·‖w − w_t‖² through its gradient, μ·(w − w_t).
#[derive(Debug)]
struct Proximal {
    mu: Tensor,
    minus_mu: Tensor,
    /// Each variable, and what it was when training began.
    pulled: Vec<(Tensor, Tensor)>,
}

impl Proximal {
    fn new(variables: &VarStore, mu: f32) -> Self {
        let pulled = no_grad(|| {
            let variables = variables.trainable_variables().into_iter();
            variables
                .map(|variable| {
                    let start = variable.detach().copy();
                    (variable, start)
                })
                .collect()
        });
        Self {
            mu: Tensor::from(mu),
            minus_mu: Tensor::from(-mu),
            pulled,
        }
    }

    /// Adds it to the gradients, in place and without a copy of the weights.
    fn pull(&self) {
        no_grad(|| {
            for (variable, start) in &self.pulled {
                let mut gradient = variable.grad();
                if gradient.defined() {
                    let _ = gradient.addcmul_(variable, &self.mu);
                    let _ = gradient.addcmul_(start, &self.minus_mu);
                }
            }
        });
    }
}
