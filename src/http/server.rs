//! The two listeners.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_cors::Cors;
use actix_web::{
    App, HttpServer,
    dev::{RequestHead, Server, ServerHandle},
    http::header::{
        AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
    middleware::DefaultHeaders,
    web,
};

use super::{
    access::allows_origin,
    operations::{self, Operations},
    orders,
    public::Public,
    refusal::Refusal,
    socket, tickets, websocket,
};

/// Time a client may take to send a request's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A body is asked for more only while less than this waits to be written: enough for the head and body of a small
/// answer to be one write, and so little that a session's deliveries stay in its mailbox until the socket takes them.
const WRITE_BUFFER_BYTES: usize = 1024;
/// A browser may keep a preflight's answer.
const PREFLIGHT_SECONDS: usize = 600;

/// A listener that is being served. Dropping it does not stop it: see [`stop`](Listening::stop).
pub struct Listening {
    /// The address it was given, or took.
    pub address: SocketAddr,
    handle: ServerHandle,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Listening {
    fn start(address: SocketAddr, server: Server) -> Self {
        Self { address, handle: server.handle(), server: tokio::spawn(server) }
    }

    /// Ends when the server ends, which it does only when it is stopped or breaks.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.server).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Stops listening and waits for the requests under way, a second at most: sessions have ended before.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

/// Binds a listener; the error names the setting that chose the address.
pub fn bind(address: SocketAddr, setting: &str) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    let backlog = 1024;
    socket
        .bind(&address.into())
        .and_then(|()| socket.listen(backlog))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address} ({setting}): {error}")))?;
    Ok(socket.into())
}

/// Serves the public listener. `workers` threads each serve their share of the connections.
pub fn serve_public(
    listener: TcpListener,
    public: web::Data<Public>,
    workers: usize,
    extra: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let send_timeout = public.limits.send_timeout;
    // Above our own limit, which answers 503: at this one the listener would just stop accepting.
    let max_connections = public.limits.max_total / workers + 4096;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(public.clone())
            .wrap(cors(public.clone()))
            .wrap(security_headers())
            .configure(extra.clone())
            .service(web::resource("/order-status").get(websocket::order_status).default_service(web::to(other_method)))
            .service(web::resource("/orders").get(orders::list).default_service(web::to(other_method)))
            .service(web::resource("/orders/{order_id}").get(orders::one).default_service(web::to(other_method)))
            .service(web::resource("/tickets").post(tickets::issue).default_service(web::to(other_method)))
            .default_service(web::to(nothing_here))
    })
    .workers(workers)
    .max_connections(max_connections)
    .on_connect(move |connection, _| socket::prepare(connection, send_timeout))
    .h1_write_buffer_size(WRITE_BUFFER_BYTES)
    // A client that ends its side has ended the session.
    .h1_allow_half_closed(false)
    .client_request_timeout(REQUEST_TIMEOUT)
    // A session waits itself for the client's Close; after that the server ends the connection (RFC 6455, section 7.1.1).
    .client_disconnect_timeout(Duration::ZERO)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    Ok(Listening::start(address, server))
}

/// Serves the operations listener.
pub fn serve_operations(listener: TcpListener, operations: web::Data<Operations>) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(operations.clone())
            .wrap(security_headers())
            .configure(operations::routes)
            .default_service(web::to(nothing_here))
    })
    .workers(1)
    .client_request_timeout(REQUEST_TIMEOUT)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    Ok(Listening::start(address, server))
}

async fn nothing_here() -> Result<&'static str, Refusal> {
    Err(Refusal::NotFound)
}

async fn other_method() -> Result<&'static str, Refusal> {
    Err(Refusal::MethodNotAllowed)
}

fn security_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((CACHE_CONTROL, "no-store"))
        .add((REFERRER_POLICY, "no-referrer"))
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
}

/// The same origins that may open a WebSocket may read the other endpoints.
fn cors(public: web::Data<Public>) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin: &HeaderValue, head: &RequestHead| {
            origin.to_str().is_ok_and(|origin| allows_origin(&public.origins, origin, head))
        })
        .allowed_methods(["GET", "POST"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers([RETRY_AFTER])
        .block_on_origin_mismatch(false)
        .max_age(PREFLIGHT_SECONDS)
}
