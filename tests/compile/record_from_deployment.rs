//! A deployment that somebody wrote down, passed on as a record of the log.
use samebits::evidence::Evidence;
use samebits::record::Deployment;

fn forge(evidence: &mut Evidence, deployment: Deployment) {
    evidence.history[0] = deployment;
}

fn main() {}
