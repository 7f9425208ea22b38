//! ND202: the firewall lets overlay traffic not through.
use super::passage::{Passage, passages};
use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::firewall::{At, Backend, Chain, Decision, Passing, State};
use crate::evidence::traffic::{Question, Traffic};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(202),
    name: "forward-policy-drop",
    severity: Severity::Critical,
    title: "The firewall drops what passes between the overlay and this host's containers",
    needs: &[Part::Firewall, Part::Links, Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd202_forward_policy_drop.md"),
    check,
};

/// A port that nobody has a rule for: the last of IANA's registered ones, reserved.
const UNNAMED_PORT: u16 = 49151;

/// An answer within a data centre takes a thousandth of it.
const WAIT_NS: u64 = 500_000_000;

/// One question to the firewall, and who said no.
struct Refused<'v> {
    passage: Passage<'v>,
    inward: bool,
    state: State,
    at: At<'v>,
    /// Other protocols or ports may be let through.
    but_some: bool,
}

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let refused: Vec<Refused<'_>> = passages(view)
        .into_iter()
        .flat_map(|passage| asked(view, passage))
        .collect();
    let mut chains: Vec<&Chain> = Vec::new();
    for one in &refused {
        if chains
            .iter()
            .any(|chain| std::ptr::eq(*chain, one.at.chain))
        {
            continue;
        }
        chains.push(one.at.chain);
        let same = refused.iter();
        let same: Vec<&Refused<'_>> = same
            .filter(|other| std::ptr::eq(other.at.chain, one.at.chain))
            .collect();
        found.push(draft(view, one, &same));
    }
}

/// Both directions, new and established.
fn asked<'v>(view: &'v View<'_>, passage: Passage<'v>) -> Vec<Refused<'v>> {
    let mut refused = Vec::new();
    for inward in [true, false] {
        for state in [State::New, State::Established] {
            let packet = packet(&passage, inward, state);
            let mut decision = view.context.firewall.forward(&packet);
            let but_some = matches!(decision, Decision::Unknown(_));
            if but_some {
                decision = view.context.firewall.forward(&Passing {
                    protocol: Some("tcp"),
                    source_port: Some(UNNAMED_PORT),
                    destination_port: Some(UNNAMED_PORT),
                    ..packet
                });
            }
            if let Decision::Drop(at) = decision {
                refused.push(Refused {
                    passage,
                    inward,
                    state,
                    at,
                    but_some,
                });
            }
        }
    }
    refused
}

fn packet<'v>(passage: &Passage<'v>, inward: bool, state: State) -> Passing<'v> {
    let (source, destination) = (passage.remote, passage.local);
    let (iif, oif) = (passage.link, passage.bridge);
    let ends = match inward {
        true => (source, destination, iif, oif),
        false => (destination, source, oif, iif),
    };
    Passing {
        source: ends.0,
        destination: ends.1,
        iif: ends.2,
        oif: ends.3,
        protocol: None,
        source_port: None,
        destination_port: None,
        state,
    }
}

/// What packets show of it: they come to this host, and no answer goes back; or containers
/// send them, and they reach no tunnel. Three at most.
fn stopped(view: &View<'_>, all: &[&Refused<'_>]) -> Vec<Evidence> {
    let Some(traffic) = view.traffic else {
        return Vec::new();
    };
    let questions = traffic.questions.iter().map(|(_, question)| question);
    let stopped = questions.filter_map(|question| {
        all.iter()
            .find_map(|one| one.stops(traffic, question))
            .map(|what| question.first().evidence(what))
    });
    stopped.take(3).collect()
}

/// `chain FORWARD of table ip filter`.
fn named(chain: &Chain) -> String {
    format!(
        "chain {} of table {} {}",
        chain.name, chain.family, chain.table
    )
}

impl Refused<'_> {
    fn way(&self) -> String {
        let Passage { link, bridge, .. } = self.passage;
        match self.inward {
            true => format!("from {link} to {bridge}"),
            false => format!("from {bridge} to {link}"),
        }
    }

    /// What became of a packet that waits in vain for an answer, where it is of this passage.
    fn stops(&self, traffic: &Traffic, question: &Question) -> Option<String> {
        let Passage {
            network,
            own,
            bridge,
            ..
        } = self.passage;
        let (source, destination) = (question.asked.source, question.asked.destination);
        let within = network.contains(&source) && network.contains(&destination);
        if !within || !traffic.is_unanswered(question, WAIT_NS) {
            return None;
        }
        let (since, until) = (question.first().ts_ns, question.last.ts_ns + WAIT_NS);
        if traffic.trust(Confidence::Certain, since, until) != Confidence::Certain {
            return None;
        }
        let on_bridge = question
            .places
            .iter()
            .any(|place| &*place.interface == bridge);
        let what = question.what();
        let came = own.contains(&destination) && !own.contains(&source);
        if came && question.in_tunnel && !on_bridge {
            return Some(format!(
                "{what} from {source} came by the tunnel for {destination}, and nobody answers"
            ));
        }
        let went = own.contains(&source) && !own.contains(&destination);
        (!self.inward && went && on_bridge && !question.in_tunnel).then(|| {
            format!("{what} from {source} to {destination} was on {bridge} and reached no tunnel")
        })
    }

    fn evidence(&self) -> Evidence {
        let packet = packet(&self.passage, self.inward, self.state);
        let place = match self.at.rule {
            Some(rule) => format!("{}: {}", named(self.at.chain), rule.text),
            None => format!("{}: policy drop", named(self.at.chain)),
        };
        let what = format!(
            "a packet {} of {} connection, {} → {}, is dropped",
            self.way(),
            match self.state {
                State::New => "a new",
                State::Established => "an established",
            },
            packet.source,
            packet.destination
        );
        Evidence::new("firewall", place, what)
    }
}

fn draft(view: &View<'_>, first: &Refused<'_>, all: &[&Refused<'_>]) -> Draft {
    let chain = first.at.chain;
    let network = first.passage.network;
    let how = match first.at.rule {
        None => "policy drop".to_owned(),
        Some(rule) => format!("rule `{}`", rule.text),
    };
    let both = all.iter().any(|one| one.inward) && all.iter().any(|one| !one.inward);
    let way = match both {
        true => format!(
            "between {} and {}",
            first.passage.link, first.passage.bridge
        ),
        false => first.way(),
    };
    let packets = stopped(view, all);
    let sure = !packets.is_empty() || all.iter().any(|one| one.at.rule.is_none() && !one.but_some);
    let mut draft = Draft::new(
        format!("{:?} {}", chain.backend, named(chain)),
        format!(
            "{} ({how}) drops what passes {way} inside {network}",
            named(chain)
        ),
    )
    .because(
        "Every forwarding chain has to let a packet through, and this one does not: packets of \
         the overlay are dropped on this host without an answer. Docker since 1.13 sets the \
         policy of FORWARD to drop; flannel since 0.9.1 adds the rules that let its network \
         through. Connections need both directions.",
    )
    .seen_all(all.iter().take(8).map(|one| one.evidence()))
    .seen_all(packets)
    .confidence(if sure {
        Confidence::Certain
    } else {
        Confidence::Likely
    });
    for command in fix(first) {
        draft = draft.fix(command);
    }
    draft
}

/// Accepts for both directions, before everything else in the chain.
fn fix(refused: &Refused<'_>) -> Vec<String> {
    let (chain, network) = (refused.at.chain, refused.passage.network);
    let accepts = |source: &str, destination: &str| match chain.backend {
        Backend::Nft => {
            let family = if network.addr().is_ipv6() {
                "ip6"
            } else {
                "ip"
            };
            let insert = format!(
                "nft insert rule {} {} {}",
                quoted(&chain.family),
                quoted(&chain.table),
                quoted(&chain.name)
            );
            let one = |field: &str| format!("{insert} {family} {field} {network} accept");
            [one("saddr"), one("daddr")]
        }
        backend => {
            let table = match chain.table.as_str() {
                "filter" => String::new(),
                table => format!(" -t {}", quoted(table)),
            };
            let insert = format!("{}{table} -I {}", backend.command(), quoted(&chain.name));
            [
                format!("{insert} {source} {network} -j ACCEPT"),
                format!("{insert} {destination} {network} -j ACCEPT"),
            ]
        }
    };
    let mut commands = vec![match refused.at.rule {
        None => "# flannel 0.9.1 and later adds these rules itself".to_owned(),
        Some(_) => "# if somebody wants these packets dropped, leave it as it is".to_owned(),
    }];
    commands.extend(accepts("-s", "-d"));
    commands
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::super::wire::{Wire, echo_reply_to, echo_request};
    use super::*;
    use crate::finding::Finding;

    const HOST: &str = "
        link eth0
        link flannel0 tun
        link docker0 bridge
        address 10.1.1.187/24 dev eth0
        address 192.168.13.0/16 dev flannel0
        address 192.168.13.1/24 dev docker0
        ";

    fn found(save: &str) -> Vec<Finding> {
        testing::findings(&format!("{HOST}{}", testing::saved(save)), 202)
    }

    #[test]
    fn a_policy_that_drops_is_one_finding() {
        let found = found("*filter\n:FORWARD DROP [0:0]");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].title,
            "chain FORWARD of table ip filter (policy drop) drops what passes between flannel0 \
             and docker0 inside 192.168.0.0/16"
        );
        assert_eq!(found[0].evidence.len(), 4);
        assert_eq!(found[0].confidence, Confidence::Certain);
        assert_eq!(
            found[0].fix[1],
            "iptables-legacy -I FORWARD -s 192.168.0.0/16 -j ACCEPT"
        );
    }

    #[test]
    fn one_direction_is_not_enough() {
        let found =
            found("*filter\n:FORWARD DROP\n-A FORWARD -d 192.168.0.0/16 -i flannel0 -j ACCEPT");
        assert!(
            found[0].title.contains("from docker0 to flannel0"),
            "{}",
            found[0].title
        );
    }

    #[test]
    fn docker_s_own_rules_let_no_new_packet_in() {
        let docker = "*filter
            :FORWARD DROP
            :DOCKER -
            :DOCKER-USER -
            -A FORWARD -j DOCKER-USER
            -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            -A FORWARD -o docker0 -j DOCKER
            -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
            -A DOCKER -d 192.168.13.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
            -A DOCKER-USER -j RETURN";
        let found = found(docker);
        assert_eq!(found.len(), 1);
        assert!(found[0].title.contains("from flannel0 to docker0"));
        let flannel = docker.replace(":DOCKER -", ":DOCKER -\n-A FORWARD -s 192.168.0.0/16 -j ACCEPT\n-A FORWARD -d 192.168.0.0/16 -j ACCEPT");
        assert!(self::found(&flannel).is_empty());
    }

    #[test]
    fn healthy_and_unknown_firewalls_are_left_alone() {
        assert!(found("").is_empty());
        assert!(found("*filter\n:FORWARD ACCEPT").is_empty());
        assert!(
            found("*filter\n:FORWARD DROP\n-A FORWARD -m set --match-set ours src -j ACCEPT")
                .is_empty()
        );
        // No overlay here: a policy that drops is nobody's business.
        let laptop = "link eth0\nlink docker0 bridge\naddress 172.17.0.1/16 dev docker0
            save *filter\nsave :FORWARD DROP";
        assert!(testing::findings(laptop, 202).is_empty());
    }

    const UNSURE: &str = "save *filter
        save :FORWARD DROP
        save -A FORWARD -p udp -j ACCEPT";

    #[test]
    fn packets_that_come_and_are_not_answered_confirm_it() {
        let mut wire = Wire::default();
        let request = echo_request("192.168.69.0", "192.168.13.2", 63, 84);
        let unsure = format!("{HOST}{UNSURE}");
        assert_eq!(
            testing::findings(&unsure, 202)[0].confidence,
            Confidence::Likely
        );
        wire.received("flannel0", &request, "10.1.1.95:8285");
        assert_eq!(
            wire.findings(&unsure, 202)[0].confidence,
            Confidence::Likely
        );
        wire.pass(1000);
        let found = wire.findings(&unsure, 202);
        assert_eq!(found[0].confidence, Confidence::Certain);
        let packet = found[0].evidence.iter().find(|one| one.source == "packet");
        assert!(packet.is_some_and(|one| one.what.contains("192.168.13.2")));
    }

    #[test]
    fn answers_losses_and_the_bridge_speak_against_it() {
        let request = echo_request("192.168.69.0", "192.168.13.2", 63, 84);
        let confidence = |wire: &Wire| {
            let found = wire.findings(&format!("{HOST}{UNSURE}"), 202);
            found[0].confidence
        };
        let mut answered = Wire::default();
        answered.received("flannel0", &request, "10.1.1.95:8285");
        answered.joined("flannel0", &echo_reply_to(&request), "10.1.1.95:8285");
        answered.pass(1000);
        assert_eq!(confidence(&answered), Confidence::Likely);
        let mut lossy = Wire::default();
        lossy.received("flannel0", &request, "10.1.1.95:8285");
        lossy.lose();
        lossy.pass(1000);
        assert_eq!(confidence(&lossy), Confidence::Likely);
        let mut forwarded = Wire::default();
        forwarded.received("flannel0", &request, "10.1.1.95:8285");
        forwarded.on_link("docker0", None, &request);
        forwarded.pass(1000);
        assert_eq!(confidence(&forwarded), Confidence::Likely);
    }
}
