//! The arithmetic of federated learning: update codec, plans, server optimisers, selection, stopping rules.
