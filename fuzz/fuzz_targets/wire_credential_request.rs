#![no_main]
//! A node's request for a credential, as the authority reads it.

use libfuzzer_sys::fuzz_target;
use secagg_wire::authority::{AuthorityPin, CredentialRequest};

fuzz_target!(|text: &str| {
    let Ok(request) = serde_json::from_str::<CredentialRequest>(text) else {
        return;
    };
    let again = serde_json::to_string(&request).expect("a request is written");
    assert_eq!(serde_json::from_str(&again).ok(), Some(request.clone()));
    // The authority is whom the request names: checking goes past it.
    let value: serde_json::Value = serde_json::from_str(&again).expect("what was written is JSON");
    let named = value["authority"].as_str().unwrap_or_default();
    if let Ok(pin) = named.parse::<AuthorityPin>()
        && let Ok(checked) = request.check(pin)
    {
        assert_eq!(value["client_id"], checked.key.client_id().to_string());
        assert_eq!(value["name"], checked.name.as_str());
    }
});
