//! A simulated AI provider: takes a job, answers at once that it is queued, and posts its native webhook a moment later
//! to the URL that came with the job, again and again until it is answered 200.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::guard::{AllowList, AllowTarget, Guard};
use crate::net::{self, Limits};
use crate::outbound::{Client, ClientConfig, Request};

/// How long a job takes.
const WORK: Duration = Duration::from_millis(800);

/// How often a webhook is posted before the provider gives up, and the pause in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Submit {
    /// Where the result goes.
    webhook: Option<String>,
}

/// Starts the provider on a free port.
pub async fn start() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let router = Router::new().route("/v1/images", post(submit)).with_state(Arc::new(client()?));
    tokio::spawn(net::serve(listener, router, Limits::default(), CancellationToken::new()));
    Ok(address)
}

/// A client that may call this machine and nothing else.
pub fn client() -> Result<Client, String> {
    let here = AllowList(vec![AllowTarget::parse("127.0.0.0/8")?]);
    Ok(Client::new(ClientConfig::new(Arc::new(Guard::new(here)))))
}

async fn submit(
    State(client): State<Arc<Client>>,
    Query(submit): Query<Submit>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let job = headers.get("x-asyncqueue-task-id").and_then(|id| id.to_str().ok()).unwrap_or("unknown").to_owned();
    let prompt = serde_json::from_slice::<Value>(&body).ok().and_then(|body| body.get("prompt").cloned());
    if let Some(url) = submit.webhook {
        let done = json!({
            "request_id": job,
            "status": "OK",
            "payload": {
                "images": [{"url": "https://images.example/cat.png", "width": 1024, "height": 1024}],
                "seed": 196_619_188_014_358_660_u64,
                "prompt": prompt,
            },
        });
        tokio::spawn(async move { tell(&client, &url, Bytes::from(done.to_string())).await });
    }
    let queued = Json(json!({"request_id": job, "status": "IN_QUEUE", "queue_position": 0}));
    axum::response::IntoResponse::into_response((StatusCode::OK, queued))
}

async fn tell(client: &Client, url: &str, body: Bytes) {
    tokio::time::sleep(WORK).await;
    for _ in 0..TRIES {
        match request(Method::POST, url, Vec::new(), Some(body.clone())) {
            Ok(request) if client.call(0, request.clone()).await.is_ok_and(|answer| answer.status == 200) => {
                return;
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A request to this machine.
pub fn request(
    method: Method,
    url: &str,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    body: Option<Bytes>,
) -> Result<Request, String> {
    let here = AllowList(vec![AllowTarget::parse("127.0.0.0/8")?]);
    let target = Guard::new(here).check_url(url).map_err(|error| error.to_string())?;
    let timeout = Duration::from_secs(30);
    Ok(Request { method, target, headers, body, timeout, own: Vec::new(), signer: None })
}
