//! Nodes on one database, with a balancer before them and the journal's world around them.

use std::net::SocketAddr;
use std::time::Duration;

use super::balancer::Balancer;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::time::wall_ms;
use crate::harness::world::World;
use crate::ledger::Entry;

/// What nodes share.
const SECRET_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How long a silent node counts as alive here.
pub const LEASE: Duration = Duration::from_secs(3);

/// One node: where it lives, and its process while it runs.
pub struct Node {
    pub site: Site,
    pub server: Option<Server>,
}

/// All of them.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub balancer: Balancer,
}

impl Cluster {
    /// `count` nodes on the database at `url`, each with a few more arguments, and the world that drives them.
    pub async fn start(label: &str, url: &str, count: usize) -> (Self, World) {
        Self::with(label, &vec![url.to_owned(); count], |_, _| {}).await
    }

    /// A node for each URL, prepared by the test.
    pub async fn with(label: &str, urls: &[String], prepare: impl Fn(usize, &mut Site)) -> (Self, World) {
        let mut operator = Site::new(label);
        let sites: Vec<Site> = urls.iter().map(|_| Site::new(&format!("{label}-node"))).collect();
        let addresses: Vec<SocketAddr> = sites.iter().map(|site| site.addr).collect();
        let balancer = Balancer::before(&addresses).await;
        share(&mut operator, &urls[0]);
        let mut nodes = Vec::new();
        for (number, (mut site, url)) in sites.into_iter().zip(urls).enumerate() {
            share(&mut site, url);
            site.key.clone_from(&operator.key);
            let own = [
                ("--public-url", format!("http://{}", balancer.addr)),
                ("--node-lease", format!("{}s", LEASE.as_secs())),
                ("--node-name", format!("node-{number}")),
                ("--shutdown-notice", "0s".to_owned()),
            ];
            site.arguments = own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            prepare(number, &mut site);
            let server = Some(Server::start(&site).await);
            nodes.push(Node { site, server });
        }
        let mut world = World::on(operator).await;
        world.entry = balancer.addr;
        world.node_folders = nodes.iter().map(|node| node.site.dir.clone()).collect();
        world.teams = vec![crate::harness::http::Client::new(balancer.addr, Some(&world.site.key))];
        world.ledger.write(&Entry::Ready(wall_ms()));
        world.introduce();
        (Self { nodes, balancer }, world)
    }

    pub fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].site.addr
    }

    pub fn server(&self, node: usize) -> &Server {
        self.nodes[node].server.as_ref().expect("it runs")
    }

    /// `kill -9` on a node, and notes that attempts may have been lost.
    pub fn kill(&mut self, node: usize, world: &World) {
        let server = self.nodes[node].server.take().expect("it runs");
        server.kill();
        note_loss(world);
    }

    pub async fn start_again(&mut self, node: usize) {
        let server = Server::start(&self.nodes[node].site).await;
        self.nodes[node].server = Some(server);
    }

    /// How many lines of a node's logs have this text.
    pub fn said(&self, node: usize, text: &str) -> usize {
        let files = std::fs::read_dir(&self.nodes[node].site.dir).expect("its folder");
        let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|end| end == "log"));
        logs.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default().matches(text).count()).sum()
    }

    pub async fn stop(mut self) {
        for node in &mut self.nodes {
            if let Some(server) = node.server.take() {
                server.stop().await;
            }
        }
    }
}

/// Notes a moment at which attempts and deliveries may have been lost; the service as a whole was not down.
pub fn note_loss(world: &World) {
    world.note_down();
    world.ledger.write(&Entry::Ready(wall_ms()));
}

fn share(site: &mut Site, url: &str) {
    site.shared = Some(url.to_owned());
    site.environment.push(("ASYNCQUEUE_SECRET_KEY".to_owned(), SECRET_KEY.to_owned()));
}
