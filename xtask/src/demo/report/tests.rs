use super::html;
use crate::demo::sample;

#[test]
fn the_page_needs_nothing_but_itself_and_says_everything() {
    let page = html(&sample::metrics());
    // To look at it: SECAGG_REPORT=/tmp/report.html cargo test -p xtask the_page
    if let Some(path) = std::env::var_os("SECAGG_REPORT") {
        std::fs::write(path, &page).unwrap();
    }
    for foreign in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for part in [
        "prefers-color-scheme: dark",
        "width=device-width",
        "What the coordinator saw of one update",
        "data:image/png;base64,",
        "Accuracy after each round",
        "Time of each round",
        "at &lt;home&gt; &amp; bring tea.",
        "hana was killed in round 2 before its masked-input, missed by the coordinator in \
         masked-input, and back in the sum of round 3.",
        "known to the coordinator",
        "every tenth message of each node",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(
        page.matches("<table").count(),
        page.matches("</table>").count()
    );
    assert_eq!(page.matches("<div").count(), page.matches("</div>").count());
}

#[test]
fn a_run_without_deaths_or_comparison_has_a_page_too() {
    let mut metrics = sample::metrics();
    metrics.deaths.clear();
    metrics
        .rounds
        .iter_mut()
        .for_each(|round| round.killed.clear());
    metrics.quality.pooled = None;
    metrics.quality.most_frequent = None;
    metrics.run.corpus = Some("sms/train.jsonl".to_owned());
    metrics.run.validation = Some("sms/validation.jsonl".to_owned());
    let page = html(&metrics);
    assert!(!page.contains("was killed in round") && !page.contains("✕ 1 killed"));
    assert!(!page.contains("Pooled training has"));
    assert!(page.contains("for this measurement only"));
    assert!(page.contains("sms/validation.jsonl"));
}
