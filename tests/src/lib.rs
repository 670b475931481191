//! End-to-end tests over real QUIC and real processes.
