use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Uses every series at least once, with labels that visitors could make up.
fn used() -> Metrics {
    let metrics = Metrics::new("1.2.3");
    for method in ["GET", "BREW", "\"}\n"] {
        for status in (0..1000).step_by(50).chain([u16::MAX]) {
            for route in Route::ALL {
                metrics.request_answered(*route, method, status, Duration::from_millis(3));
            }
            metrics.callback_answered(status);
            metrics.signal_answered(status);
        }
    }
    for status in TaskStatus::ALL {
        metrics.set_tasks(*status, 7);
    }
    for outcome in AttemptOutcome::ALL {
        metrics.attempt_ended(*outcome, Duration::from_secs(2));
    }
    for outcome in DeliveryOutcome::ALL {
        metrics.webhook_attempted(*outcome);
    }
    metrics.commit_ended(12, Duration::from_micros(900));
    metrics.store_failed();
    metrics.set_store_log(4096);
    metrics
}

/// The value of the sample that begins so, up to its last space.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn every_line_parses_and_every_family_is_described() {
    let text = used().render();
    let (mut types, mut helps) = (BTreeMap::new(), BTreeSet::new());
    let mut lines = text.lines().collect::<Vec<_>>();
    assert_eq!(lines.pop(), Some("# EOF"));
    for line in lines {
        if let Some(rest) = line.strip_prefix("# ") {
            let words: Vec<&str> = rest.splitn(3, ' ').collect();
            let [kind, name, what] = words[..] else { panic!("{line}") };
            assert!(name.starts_with("asyncqueue_"), "{line}");
            match kind {
                "TYPE" => assert_eq!(types.insert(name.to_owned(), what), None, "{line}"),
                "HELP" => assert!(helps.insert(name.to_owned()), "{line}"),
                "UNIT" => assert!(name.ends_with(what), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
        let name = sample.split('{').next().unwrap();
        let family = |kind: &str, suffix: &str| {
            name.strip_suffix(suffix).is_some_and(|family| types.get(family) == Some(&kind) && helps.contains(family))
        };
        let known = [
            ("counter", "_total"),
            ("gauge", ""),
            ("info", "_info"),
            ("histogram", "_sum"),
            ("histogram", "_count"),
            ("histogram", "_bucket"),
        ];
        assert!(known.iter().any(|(kind, suffix)| family(kind, suffix)), "{line}");
    }
    assert_eq!(types.len(), 22);
}

#[test]
fn what_visitors_send_adds_no_series() {
    let text = used().render();
    assert!(!text.contains("BREW"));
    assert!(text.lines().count() < 1_500, "{} lines", text.lines().count());
    let most = Route::ALL.len() * Method::ALL.len() * StatusClass::ALL.len();
    assert!(text.matches("asyncqueue_http_requests_total{").count() <= most);
}

#[test]
fn counts_arrive_under_their_labels() {
    let metrics = Metrics::new("1.2.3");
    metrics.request_answered(Route::Callback, "POST", 404, Duration::from_millis(7));
    metrics.callback_answered(404);
    metrics.callback_answered(418);
    metrics.set_tasks(TaskStatus::Waiting, 5);
    let text = metrics.render();
    for (sample, expected) in [
        (r#"asyncqueue_build_info{version="1.2.3"}"#, 1.0),
        (r#"asyncqueue_http_requests_total{route="/v1/callbacks/{callbackId}",method="POST",status="4xx"}"#, 1.0),
        (r#"asyncqueue_http_request_duration_seconds_bucket{le="0.005",route="/v1/callbacks/{callbackId}"}"#, 0.0),
        (r#"asyncqueue_http_request_duration_seconds_bucket{le="0.01",route="/v1/callbacks/{callbackId}"}"#, 1.0),
        (r#"asyncqueue_http_request_duration_seconds_bucket{le="+Inf",route="/v1/callbacks/{callbackId}"}"#, 1.0),
        (r#"asyncqueue_http_request_duration_seconds_sum{route="/v1/callbacks/{callbackId}"}"#, 0.007),
        (r#"asyncqueue_callbacks_total{status="404"}"#, 1.0),
        (r#"asyncqueue_callbacks_total{status="other"}"#, 1.0),
        (r#"asyncqueue_callbacks_total{status="200"}"#, 0.0),
        (r#"asyncqueue_tasks{status="waiting"}"#, 5.0),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}\n{text}");
    }
}

#[test]
fn a_gauge_falls_when_the_guard_is_dropped() {
    let metrics = Metrics::new("1.2.3");
    let open = (
        metrics.call_started(),
        metrics.clone().long_poll_opened(),
        metrics.stream_opened(),
        metrics.connection_opened(),
    );
    let samples = ["calls_in_flight", "long_polls_open", "streams_open", "http_connections_open"]
        .map(|name| format!("asyncqueue_{name}"));
    for sample in &samples {
        assert_eq!(value(&metrics.render(), sample), Some(1.0));
    }
    drop(open);
    for sample in &samples {
        assert_eq!(value(&metrics.render(), sample), Some(0.0));
    }
}

#[test]
fn labels_stand_where_their_index_says() {
    fn check<L: Label>() {
        assert!(L::ALL.iter().enumerate().all(|(place, label)| label.index() == place));
    }
    check::<Route>();
    check::<Method>();
    check::<StatusClass>();
    check::<TaskStatus>();
    check::<AttemptOutcome>();
    check::<CallbackAnswer>();
    check::<DeliveryOutcome>();
}

#[test]
fn paths_are_known_by_their_routes_only() {
    assert_eq!(Route::of_path("/v1/tasks"), Route::Tasks);
    assert_eq!(Route::of_path("/v1/tasks/0198c0de"), Route::Task);
    assert_eq!(Route::of_path("/v1/tasks/0198c0de/webhook/resend"), Route::TaskWebhookResend);
    assert_eq!(Route::of_path("/v1/callbacks/ff"), Route::Callback);
    for strange in ["", "/", "/v1/tasks/", "/v1/tasks/a/", "/v1/t%61sks", "//v1/tasks", "/v1/other/a", "/v1/tasks/a/x"]
    {
        assert_eq!(Route::of_path(strange), Route::Other, "{strange}");
    }
}
