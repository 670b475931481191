//! The QUIC server that runs training rounds over secure aggregation.
