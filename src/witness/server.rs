//! A witness over HTTP/1.1. TLS, and who may ask, are a proxy's business: nothing here is secret, and every request is
//! authenticated by the log's signature.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Answer, TEXT, Witness};
use crate::ledger::cosigned::seconds;
use crate::tlog::MAX_REQUEST;

/// Connections at once; the others wait.
const CONNECTIONS: usize = 64;
/// For the head of a request, and again for its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the process ends. `clock` is asked once for every cosignature.
///
/// # Errors
/// None that one connection causes: only where nothing can be accepted any more.
pub async fn serve(
    listener: TcpListener,
    witness: Arc<Witness>,
    clock: fn() -> Timestamp,
) -> io::Result<Infallible> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Of one peer, or of the moment (too many open files): not a reason to stop being a witness.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let witness = Arc::clone(&witness);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&witness), clock));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            // A peer that goes away has its answer, or none.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    witness: Arc<Witness>,
    clock: fn() -> Timestamp,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    if path != "/add-checkpoint" {
        return Ok(response(plain(404, "there is only /add-checkpoint here")));
    }
    if request.method() != Method::POST {
        return Ok(response(plain(405, "expected POST")));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let body = match tokio::time::timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Ok(response(plain(413, "the body is too long, or was cut off"))),
        Err(_) => return Ok(response(plain(408, "the body did not come"))),
    };
    // The disk is waited for elsewhere.
    let answered = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, seconds(clock()))).await;
    Ok(response(match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => plain(500, "the witness cannot answer now"),
    }))
}

fn plain(status: u16, text: &str) -> Answer {
    Answer { status, content_type: TEXT, body: format!("{text}\n") }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = hyper::header::HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
