//! The templates that come with the program.

use std::collections::BTreeSet;

use crate::providers::{Author, Catalogue, Confidence, Part, UrlTemplate, embedded};

const SIX: [&str; 6] = ["fal", "replicate", "runwayml", "luma", "elevenlabs-dubbing", "stability-video"];

/// The public form of the six, which clients know.
const PUBLIC: &str = include_str!("../../../tests/data/public_providers.json");

#[test]
fn the_six_come_first_and_look_as_clients_know_them() {
    let catalogue = embedded().unwrap();
    let ids: Vec<&str> = catalogue.iter().map(|template| template.id.as_str()).collect();
    assert_eq!(ids[..6], SIX);
    assert!(ids.len() >= 58, "{}", ids.len());
    assert!(ids[6..].is_sorted(), "the others by name");
    let public: Vec<serde_json::Value> = serde_json::from_str(PUBLIC).unwrap();
    for (known, template) in public.iter().zip(catalogue) {
        let mut shown: serde_json::Value = serde_json::from_str(&template.shown()).unwrap();
        shown.as_object_mut().unwrap().remove("callback");
        assert_eq!(shown, *known, "{}", template.id);
    }
}

#[test]
fn the_keys_of_a_poll_configuration_come_in_the_public_order() {
    let order = [
        "urlTemplate",
        "interval",
        "statusPath",
        "doneValues",
        "failValues",
        "resultPath",
        "resultUrlTemplate",
        "errorPath",
        "forwardAuth",
        "maxDuration",
    ];
    for template in embedded().unwrap() {
        let Some(poll) = template.poll() else { continue };
        let shown = poll.shown();
        let places: Vec<usize> = order.iter().filter_map(|key| shown.find(&format!("\"{key}\":"))).collect();
        assert!(places.is_sorted() && places.len() >= 8, "{shown}");
    }
}

#[test]
fn each_is_complete() {
    for template in embedded().unwrap() {
        let id = &template.id;
        assert!(!template.name.is_empty() && !template.description.is_empty(), "{id}");
        assert!(template.docs.starts_with("https://"), "{id}");
        assert_eq!(template.retry_on, [429], "{id}");
        assert!(template.max_duration_ms() >= 600_000, "{id}");
        let pollable = template.poll().is_some();
        assert!(
            pollable || template.callback().is_some() || !template.notes.is_empty(),
            "{id}: say why there is neither"
        );
        if let Some(poll) = template.poll() {
            assert!(!poll.id_places().is_empty(), "{id}");
            assert_eq!(crate::providers::PollConfig::restore(&poll.stored()).unwrap().stored(), poll.stored(), "{id}");
        }
        if let Some(callback) = template.callback() {
            let stored = callback.rule.stored();
            assert_eq!(crate::providers::CallbackRule::restore(&stored).unwrap(), callback.rule, "{id}");
            assert!(callback.passing.per_request() || callback.register.is_some(), "{id}: say where to register");
            assert!(!callback.rule.id.is_empty() || callback.passing.per_request(), "{id}: events need a job's id");
            assert_eq!(template.is_account_level(), callback.passing.place == Part::Account);
        }
    }
}

#[test]
fn credentials_go_to_hosts_that_a_template_names() {
    for template in embedded().unwrap() {
        let Some(poll) = template.poll() else { continue };
        let stored: serde_json::Value = serde_json::from_str(&poll.stored()).unwrap();
        let by_path = stored["finer"]["urlTemplates"].as_object().into_iter().flat_map(serde_json::Map::values);
        for url in by_path.chain([&stored["pollConfig"]["urlTemplate"]]) {
            let url = UrlTemplate::parse(url.as_str().unwrap(), Author::Project).unwrap();
            let Some(origin) = url.literal_origin() else { continue };
            let target = "https://elsewhere.example/";
            let trusted = crate::providers::may_carry_credentials(&origin, target, poll.trusted());
            assert!(trusted, "{}: {origin}", template.id);
        }
    }
}

#[test]
fn account_level_providers_are_those_whose_docs_say_so() {
    let ids: BTreeSet<&str> =
        embedded().unwrap().iter().filter(|one| one.is_account_level()).map(|one| one.id.as_str()).collect();
    let expected = [
        "elevenlabs-stt",
        "heygen",
        "leonardo",
        "meshy",
        "mux",
        "openai-batch",
        "openai-responses",
        "openai-videos",
        "synthesia",
        "twelvelabs",
    ];
    assert!(ids.is_superset(&BTreeSet::from(expected)), "{ids:?}");
    assert!(embedded().unwrap().iter().filter(|one| one.takes_callback_url()).count() >= 26);
    let inferred = embedded().unwrap().iter().filter(|one| one.confidence == Confidence::Inferred).count();
    assert!(inferred > 0, "{inferred}");
}

#[test]
fn templates_of_one_account_share_its_events() {
    let ids = |name: &str| -> Vec<&str> {
        embedded().unwrap().of_account(name).into_iter().map(|template| template.id.as_str()).collect()
    };
    let openai = ["openai-batch", "openai-responses", "openai-videos"];
    assert_eq!((ids("openai"), ids("openai-batch")), (openai.to_vec(), openai.to_vec()));
    assert_eq!(ids("mux"), ["mux"]);
    assert!(ids("fal").is_empty() && ids("none").is_empty());
}

#[test]
fn a_file_that_makes_no_sense_is_named() {
    let good = concat!(
        r#"{"$schema":"schema.json","id":"x","name":"X","description":"d","docs":"https://x.example","#,
        r#""confidence":"documented"}"#
    );
    assert!(Catalogue::read(&[("x", good)]).is_ok());
    let error = |name: &str, text: &str| Catalogue::read(&[(name, text)]).unwrap_err().to_string();
    assert_eq!(error("y", good), "providers/y.json: its id is x, which must be the file's name");
    assert!(error("x", &good.replace("\"docs\"", "\"doc\"")).starts_with("providers/x.json: unknown field `doc`"));
    let poll = concat!(
        r#""pollConfig":{"urlTemplate":"https://{startResult.body.h}/","statusPath":"s","#,
        r#""doneValues":[],"failValues":[]},"name""#
    );
    assert!(error("x", &good.replacen("\"name\"", poll, 1)).contains("pollConfig.urlTemplate must name the host"));
}
