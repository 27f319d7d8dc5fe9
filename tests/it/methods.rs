//! T12: a link preview, a scanner or a browser burns nothing. Methods that a callback URL does not take are told so, and the id
//! lives on.

use crate::callbacks::waiting;
use crate::support::{Service, Target};

#[tokio::test]
async fn other_methods_are_refused_and_use_nothing_up() {
    let service = Service::with(&["--callback-rate-limit", "1/60"]).await;
    let target = Target::ok().await;
    let task = waiting(&service, &target).await;
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "post"] {
        let answer = service.send(method, &task.callback_path(), &[], None).await.expect(405);
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
        if method != "HEAD" {
            answer.expect_error(405, "Method not allowed");
        }
    }
    service.post(&task.callback_path(), "{}").await.expect(200);
    let refused = service.post(&task.callback_path(), "{}").await;
    refused.expect_error(429, "Rate limit exceeded");
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    service.send("GET", &task.callback_path(), &[], None).await.expect(405);
}
