//! The two listeners.

use std::{
    fmt::Debug,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Request, Response, error::DispatchError};
use actix_service::{
    IntoServiceFactory, Service as _, ServiceFactory, ServiceFactoryExt, apply_fn_factory, map_config,
};
use actix_web::{
    App,
    body::MessageBody,
    dev::{AppConfig, Server, ServerHandle},
    http::header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    middleware::{DefaultHeaders, from_fn},
    rt::net::TcpStream,
    web,
};

use super::{
    conduct::conduct,
    events,
    front::admit,
    line::{House, HttpConnection, Line, REQUEST_TIMEOUT},
    operations::{self, Operations},
    orders,
    pending::{Entered, PendingConnections},
    poll,
    public::Public,
    rate::RequestRate,
    refusal::Refusal,
    socket,
    source::TrustedProxies,
    tickets, upgrade,
};
use crate::{
    telemetry::{Cut, Metrics, OutsideLine, OutsideLog},
    transport::{
        self, Worker, sse,
        websocket::{self, Carrier},
    },
};

/// A body is asked for more only while less than this waits to be written: enough for the head and body of a small
/// answer to be one write, and so little that a session's deliveries stay in its mailbox until the socket takes them.
const WRITE_BUFFER_BYTES: usize = 1024;
/// Connections without a session that the public listener takes.
pub const PENDING: usize = 4096;
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

/// How a listener treats its connections.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Threads, each with its share of the connections.
    pub workers: usize,
    /// Connections that may hold a session. The listener takes more, so that whoever is one too many hears so.
    pub max_sessions: usize,
    /// Connections without a session, in all.
    pub max_waiting: usize,
    /// Connections without a session that one address may have.
    pub max_waiting_per_address: usize,
    /// Proxies, which may have any number of them.
    pub proxies: TrustedProxies,
    /// How long one of them may wait for its next request.
    pub keep_alive: Duration,
    /// After how long without progress a reader's connection is ended.
    pub send_timeout: Duration,
    /// What carries a WebSocket after its handshake.
    pub websocket: Carrier,
    /// Who sends too much.
    pub rate: Arc<RequestRate>,
    /// Counts connections that are cut, and what is left out of the log.
    pub metrics: Metrics,
}

/// Serves `app` on a listener, each connection and each request within its bounds.
pub fn serve<F, I, S, B>(listener: TcpListener, transport: Transport, app: F) -> io::Result<Listening>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error>,
    S::InitError: Debug,
    S::Response: Into<Response<B>>,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let pending = PendingConnections::new(transport.max_waiting, transport.max_waiting_per_address);
    let builder = Server::build()
        .workers(transport.workers)
        // Out of reach for each worker: here the listener would just stop to accept. Who gave way is there for a moment.
        .max_concurrent_connections(transport.max_sessions + 2 * transport.max_waiting + 1)
        .disable_signals()
        .shutdown_timeout(1);
    let stopping = builder.graceful_shutdown_signal();
    let listening = move || {
        let stopping = stopping.clone();
        let bounded = apply_fn_factory(app(), |request: Request, service: &S::Service| conduct(request, service))
            .map_err(|error: S::Error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // The line keeps this time itself: it knows who may have to give way.
            .keep_alive(KeepAlive::Os)
            .h1_write_buffer_size(WRITE_BUFFER_BYTES)
            // A client that ends its side has ended the session.
            .h1_allow_half_closed(false)
            .client_request_timeout(REQUEST_TIMEOUT)
            // The end of a connection is the line's, too.
            .client_disconnect_timeout(Duration::ZERO)
            .on_connect_ext(|line: &Line, extensions| _ = extensions.insert(line.connection().clone()))
            .h1(map_config(bounded, move |()| AppConfig::default()));
        let door = Rc::new(Door::new(&transport, pending.clone()));
        apply_fn_factory(http, move |stream: TcpStream, http| {
            // In a box, so that a session that follows has no room for it.
            let admitted =
                door.admit(stream).map(|(line, peer)| (line.connection().clone(), Box::pin(http.call((line, peer)))));
            async move {
                let Some((connection, served)) = admitted else { return Ok(()) };
                let ended = served.await;
                if let Err(DispatchError::Parse(_)) = ended {
                    connection.on_unreadable();
                }
                let Some(session) = connection.take_over() else { return ended };
                drop((connection, ended));
                session.await;
                Ok(())
            }
        })
    };
    Ok(Listening::start(address, builder.listen("http", listener, listening)?.run()))
}

/// Where connections come in, on one worker.
struct Door {
    house: Rc<House>,
    pending: Arc<PendingConnections>,
    outside: Arc<OutsideLog>,
    proxies: TrustedProxies,
    send_timeout: Duration,
}

impl Door {
    fn new(transport: &Transport, pending: Arc<PendingConnections>) -> Self {
        let Transport { keep_alive, rate, metrics, proxies, send_timeout, websocket, .. } = transport.clone();
        let Metrics { connections, outside, .. } = metrics;
        let house = House { keep_alive, rate, metrics: connections, worker: Worker::start(), websocket };
        Self { house: Rc::new(house), pending, outside, proxies, send_timeout }
    }

    fn prepare(&self, stream: &TcpStream) {
        // The peer may be gone already; then reading says so.
        if let Err(error) = socket::prepare(stream, self.send_timeout)
            && let Some(left_out) = self.outside.admits(OutsideLine::SocketOptions)
        {
            tracing::debug!(%error, log.left_out = left_out.told(), "socket options could not be set");
        }
    }

    /// Takes a connection, unless there is no place for it, or its address is not listened to.
    fn admit(&self, stream: TcpStream) -> Option<(Line, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let address = peer.map(|peer| peer.ip()).filter(|address| !self.proxies.contains(*address));
        let entrance = if address.is_some_and(|address| self.house.rate.shuts_out(address)) {
            Err(Cut::ShutOut)
        } else {
            self.pending.enter(address).ok_or(Cut::NoPlace)
        };
        match entrance {
            Ok(Entered { permit, displaced }) => {
                if displaced {
                    self.house.metrics.cut(Cut::GaveWay);
                }
                self.prepare(&stream);
                Some((Line::new(stream, HttpConnection::new(self.house.clone(), address, permit)), peer))
            }
            Err(why) => {
                self.house.metrics.cut(why);
                socket::refuse(&stream);
                None
            }
        }
    }
}

/// Serves the public listener.
pub fn serve_public(
    listener: TcpListener,
    public: web::Data<Public>,
    transport: Transport,
    extra: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<Listening> {
    for transport in [websocket::NAME, sse::NAME, transport::poll::NAME] {
        public.viewers.metrics.offer(transport);
    }
    serve(listener, transport, move || {
        App::new()
            .app_data(public.clone())
            .wrap(from_fn(admit))
            .wrap(security_headers())
            .configure(extra.clone())
            .service(web::resource("/order-status").get(upgrade::order_status).default_service(web::to(other_method)))
            .service(
                web::resource(events::PATH).get(events::get).post(events::post).default_service(web::to(other_method)),
            )
            .service(web::resource("/order-status/poll").post(poll::answer).default_service(web::to(other_method)))
            .service(web::resource("/orders").get(orders::list).default_service(web::to(other_method)))
            .service(web::resource("/orders/{order_id}").get(orders::one).default_service(web::to(other_method)))
            .service(web::resource("/tickets").post(tickets::issue).default_service(web::to(other_method)))
            .default_service(web::to(nothing_here))
    })
}

/// Serves the operations listener.
pub fn serve_operations(
    listener: TcpListener,
    operations: web::Data<Operations>,
    transport: Transport,
) -> io::Result<Listening> {
    serve(listener, transport, move || {
        App::new()
            .app_data(operations.clone())
            .wrap(security_headers())
            .configure(operations::routes(operations.pushes))
            .default_service(web::to(nothing_here))
    })
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
