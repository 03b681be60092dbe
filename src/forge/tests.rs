//! Against a server on a socket that speaks the documented APIs, well and badly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::registry::http::retry::Retry;

const TOKEN: &str = "the-token";

/// An answer: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, String);

#[derive(Default)]
struct Shelf {
    /// By path and query; of several the next each time, the last again and again.
    answers: BTreeMap<String, Vec<Answer>>,
    asked: Vec<(String, bool)>,
}

struct Fake {
    shelf: Arc<Mutex<Shelf>>,
    base: String,
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, request: Request) -> Response<String> {
    let mut shelf = shelf.lock().unwrap();
    let headers = request.headers();
    let bearer = headers.get("authorization").is_some_and(|value| value == "Bearer the-token");
    let private = headers.get("private-token").is_some_and(|value| value == TOKEN);
    let path = request.uri().to_string();
    shelf.asked.push((path.clone(), bearer || private));
    let (status, headers, body) = match shelf.answers.get_mut(&path) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => (404, vec![], json!({ "message": "Not Found" }).to_string()),
    };
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}

impl Fake {
    async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shelf));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { shelf, base }
    }

    fn on(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: impl ToString) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut shelf = self.shelf.lock().unwrap();
        shelf.answers.entry(path.to_owned()).or_default().push((status, headers, body.to_string()));
    }

    fn asked(&self) -> Vec<(String, bool)> {
        self.shelf.lock().unwrap().asked.clone()
    }

    fn settings(&self, forge: Forge) -> Settings {
        let project = match forge {
            Forge::Github => "acme/shop",
            Forge::Gitlab => "acme/shop",
        };
        let retry = Retry { first_wait: Duration::ZERO, ..Retry::default() };
        let http = HttpConfig { retry, ..HttpConfig::default() };
        let token = Zeroizing::new(TOKEN.to_owned());
        Settings { forge, api: self.base.clone(), project: project.to_owned(), token, http }
    }

    async fn guards(&self, forge: Forge) -> Result<Vec<Guard>, ForgeError> {
        guards(&self.settings(forge), &["production".to_owned()].into()).await
    }
}

const ENVIRONMENTS: &str = "/repos/acme/shop/environments?per_page=100";
const POLICIES: &str = "/repos/acme/shop/environments/production/deployment-branch-policies?per_page=100";
const PROTECTED: &str = "/projects/acme%2Fshop/protected_environments?per_page=100&page=1";

/// As GitHub documents it ("List environments"), with `more` over it.
fn environment(name: &str, more: Value) -> Value {
    let mut environment = json!({
        "id": 161_088_068, "node_id": "MDExOkVudmlyb25tZW50MTYxMDg4MDY4", "name": name,
        "url": "https://api.github.com/repos/acme/shop/environments/x",
        "html_url": "https://github.com/acme/shop/deployments/activity_log?environments_filter=x",
        "created_at": "2020-11-23T22:00:40Z", "updated_at": "2020-11-23T22:00:40Z",
        "can_admins_bypass": false,
        "protection_rules": [
            { "id": 3736, "node_id": "MDQ6R2F0ZTM3MzY=", "type": "wait_timer", "wait_timer": 30 },
            { "id": 3755, "node_id": "MDQ6R2F0ZTM3NTU=", "type": "required_reviewers", "prevent_self_review": true,
              "reviewers": [{ "type": "User", "reviewer": { "login": "ana", "id": 1 } }] },
            { "id": 3756, "node_id": "MDQ6R2F0ZTM3NTY=", "type": "branch_policy" }
        ],
        "deployment_branch_policy": { "protected_branches": true, "custom_branch_policies": false }
    });
    for (key, value) in more.as_object().unwrap() {
        environment[key] = value.clone();
    }
    environment
}

fn list(environments: &[Value]) -> Value {
    json!({ "total_count": environments.len(), "environments": environments })
}

async fn github(more: Value) -> Guard {
    let fake = Fake::start().await;
    fake.on(ENVIRONMENTS, 200, &[], list(&[environment("production", more)]));
    fake.guards(Forge::Github).await.unwrap().remove(0)
}

#[tokio::test]
async fn an_environment_of_github_is_what_its_rules_say() {
    let good = github(json!({})).await;
    let wanted = Guard {
        name: "production".into(),
        protected: true,
        open_to: None,
        held: true,
        self_review: false,
        bypass: false,
    };
    assert_eq!(good, wanted);
    let open = github(json!({ "deployment_branch_policy": null })).await;
    assert_eq!(open.open_to.as_deref(), Some("any branch"));
    let bare = github(json!({ "deployment_branch_policy": null, "protection_rules": [] })).await;
    assert!(!bare.protected && !bare.held);
    assert!(github(json!({ "can_admins_bypass": true })).await.bypass);
    // An older server does not say, and lets them.
    assert!(github(json!({ "can_admins_bypass": null })).await.bypass);
    let own = json!({ "protection_rules": [{ "type": "required_reviewers", "prevent_self_review": false }] });
    assert!(github(own).await.self_review);
}

#[tokio::test]
async fn branch_patterns_are_asked_for_and_one_of_stars_is_every_branch() {
    let custom = json!({ "deployment_branch_policy": { "protected_branches": false, "custom_branch_policies": true } });
    for (names, open) in
        [(vec!["main", "release/*"], false), (vec!["main", "*"], true), (vec!["*/*"], true), (vec![], false)]
    {
        let fake = Fake::start().await;
        fake.on(ENVIRONMENTS, 200, &[], list(&[environment("production", custom.clone())]));
        let policies: Vec<Value> = names
            .iter()
            .map(|name| json!({ "id": 1, "node_id": "x", "name": name, "type": "branch" }))
            .collect();
        fake.on(POLICIES, 200, &[], json!({ "total_count": policies.len(), "branch_policies": policies }));
        let found = fake.guards(Forge::Github).await.unwrap();
        assert_eq!(found[0].open_to.is_some(), open, "{names:?}");
    }
}

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let fake = Fake::start().await;
    let next = format!("<{}{ENVIRONMENTS}&page=2>; rel=\"next\", <{}/x>; rel=\"last\"", fake.base, fake.base);
    let page = |name: &str| json!({ "total_count": 2, "environments": [environment(name, json!({}))] });
    fake.on(ENVIRONMENTS, 200, &[("link", &next)], page("staging"));
    fake.on(&format!("{ENVIRONMENTS}&page=2"), 200, &[], page("production"));
    let names: Vec<String> =
        fake.guards(Forge::Github).await.unwrap().into_iter().map(|guard| guard.name).collect();
    assert_eq!(names, ["staging", "production"]);
    assert!(fake.asked().iter().all(|(_, token)| *token));

    let fake = Fake::start().await;
    let protected = |name: &str| json!([{ "name": name, "deploy_access_levels": [{ "access_level": 40 }] }]);
    fake.on(PROTECTED, 200, &[("x-next-page", "2")], protected("staging"));
    fake.on(&PROTECTED.replace("&page=1", "&page=2"), 200, &[("x-next-page", "")], protected("production"));
    assert_eq!(fake.guards(Forge::Gitlab).await.unwrap().len(), 2);
    assert!(fake.asked().iter().all(|(_, token)| *token));
}

/// A list that ends before its own count is no list of all.
#[tokio::test]
async fn a_page_that_is_missing_is_no_answer() {
    let fake = Fake::start().await;
    fake.on(
        ENVIRONMENTS,
        200,
        &[],
        json!({ "total_count": 2, "environments": [environment("staging", json!({}))] }),
    );
    let error = fake.guards(Forge::Github).await.unwrap_err();
    assert!(matches!(error, ForgeError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("1 entries of 2"), "{error}");
    // Pages in a circle, and pages out of order.
    let fake = Fake::start().await;
    let again = format!("<{}{ENVIRONMENTS}>; rel=\"next\"", fake.base);
    let many: Vec<Value> = (0..100).map(|_| environment("x", json!({}))).collect();
    fake.on(ENVIRONMENTS, 200, &[("link", &again)], list(&many));
    assert!(matches!(fake.guards(Forge::Github).await, Err(ForgeError::Malformed { .. })));
    for next in ["1", "3", "x"] {
        let fake = Fake::start().await;
        fake.on(PROTECTED, 200, &[("x-next-page", next)], json!([]));
        assert!(matches!(fake.guards(Forge::Gitlab).await, Err(ForgeError::Malformed { .. })), "{next}");
    }
}

#[tokio::test]
async fn a_protected_environment_of_gitlab_is_for_whom_it_says() {
    for (levels, open) in [
        (
            json!([{ "id": 12, "access_level": 40, "access_level_description": "Maintainers", "user_id": null, "group_id": null }]),
            false,
        ),
        (
            json!([{ "id": 12, "access_level": 30, "access_level_description": "Developers + Maintainers", "user_id": null, "group_id": null }]),
            true,
        ),
        (json!([{ "id": 12, "access_level": null, "user_id": 1, "group_id": null }]), false),
        (json!([{ "id": 12, "access_level": 0 }]), false),
        (json!([]), false),
    ] {
        let fake = Fake::start().await;
        let body =
            json!([{ "name": "production", "deploy_access_levels": levels, "required_approval_count": 0 }]);
        fake.on(PROTECTED, 200, &[], body);
        let found = fake.guards(Forge::Gitlab).await.unwrap();
        assert_eq!(found[0].open_to.is_some(), open, "{levels}");
    }
}

#[tokio::test]
async fn f1_the_token_goes_nowhere_else() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    for status in [301, 302, 307, 308] {
        let fake = Fake::start().await;
        fake.on(ENVIRONMENTS, status, &[("location", &format!("{}/elsewhere", other.base))], "");
        let error = fake.guards(Forge::Github).await.unwrap_err();
        assert!(matches!(error, ForgeError::Elsewhere { .. }), "{error}");
    }
    // By a link to the next page, by another scheme, by a login in it.
    for to in
        [other.base.clone(), "https://127.0.0.1:1/x".into(), fake.base.replace("http://", "http://a:b@")]
    {
        let fake = Fake::start().await;
        fake.on(
            ENVIRONMENTS,
            200,
            &[("link", &format!("<{to}>; rel=\"next\""))],
            list(&[environment("x", json!({}))]),
        );
        assert!(matches!(fake.guards(Forge::Github).await, Err(ForgeError::Elsewhere { .. })), "{to}");
    }
    assert_eq!(other.asked(), []);
    // A repository that was renamed answers from the same place.
    fake.on(ENVIRONMENTS, 301, &[("location", "/repositories/1/environments")], "");
    fake.on("/repositories/1/environments", 200, &[], list(&[environment("production", json!({}))]));
    assert_eq!(fake.guards(Forge::Github).await.unwrap().len(), 1);
    // In a circle it ends.
    let circle = Fake::start().await;
    circle.on(ENVIRONMENTS, 302, &[("location", ENVIRONMENTS)], "");
    assert!(matches!(circle.guards(Forge::Github).await, Err(ForgeError::Malformed { .. })));
    // Without TLS on this machine alone.
    let with = |api: &str| Settings { api: api.to_owned(), ..fake.settings(Forge::Github) };
    for api in [
        "http://api.example",
        "ftp://127.0.0.1",
        "https://a:b@api.example",
        "https://api.example/?x",
        "x",
        "",
    ] {
        let error = guards(&with(api), &BTreeSet::new()).await.unwrap_err();
        assert!(matches!(error, ForgeError::Api { .. }), "{api}: {error}");
    }
    assert!(!format!("{:?}", fake.settings(Forge::Github)).contains(TOKEN));
}

#[tokio::test]
async fn no_is_told_from_not_there_and_not_now() {
    let said =
        |message: &str| json!({ "message": message, "documentation_url": "https://docs.github.com/rest" });
    let answer = |status: u16, headers: &'static [(&'static str, &'static str)], body: Value| async move {
        let fake = Fake::start().await;
        fake.on(ENVIRONMENTS, status, headers, &body);
        fake.on(PROTECTED, status, headers, &body);
        let (github, gitlab) = (fake.guards(Forge::Github).await, fake.guards(Forge::Gitlab).await);
        (github.unwrap_err(), gitlab.unwrap_err(), fake.asked().len())
    };
    let (github, gitlab, asked) = answer(401, &[], said("Bad credentials")).await;
    assert_eq!(github.to_string(), "GitHub answers 401: Bad credentials");
    assert_eq!(gitlab.to_string(), "GitLab answers 401: Bad credentials");
    assert_eq!(asked, 2, "a refusal is final");
    assert!(github.hint().unwrap().contains("actions: read") && gitlab.hint().unwrap().contains("read_api"));
    let (github, ..) = answer(403, &[], said("Resource not accessible by integration")).await;
    assert!(matches!(github, ForgeError::Refused { status: 403, .. }), "{github}");
    let (github, gitlab, asked) = answer(404, &[], said("Not Found")).await;
    assert!(
        matches!((&github, &gitlab), (ForgeError::Absent { .. }, ForgeError::Absent { .. })),
        "{github} {gitlab}"
    );
    assert_eq!(asked, 2);
    // The primary limit ends with the hour; the secondary one says when, and is waited for.
    let (github, _, asked) =
        answer(403, &[("x-ratelimit-remaining", "0")], said("API rate limit exceeded")).await;
    assert!(matches!(github, ForgeError::TooOften { status: 403, .. }), "{github}");
    assert_eq!(asked, 2);
    for status in [403, 429] {
        let (github, _, asked) = answer(status, &[("retry-after", "0")], said("secondary rate limit")).await;
        assert!(matches!(github, ForgeError::TooOften { .. }), "{github}");
        assert_eq!(asked, 6);
    }
    let (github, gitlab, _) = answer(503, &[], json!({})).await;
    assert!(
        matches!((&github, &gitlab), (ForgeError::Unreachable { .. }, ForgeError::Unreachable { .. })),
        "{github}"
    );
    // One that comes back is believed.
    let fake = Fake::start().await;
    fake.on(ENVIRONMENTS, 429, &[("retry-after", "0")], "");
    fake.on(ENVIRONMENTS, 502, &[], "");
    fake.on(ENVIRONMENTS, 200, &[], list(&[environment("production", json!({}))]));
    assert_eq!(fake.guards(Forge::Github).await.unwrap().len(), 1);
    // Nobody there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let gone = Settings { api, ..fake.settings(Forge::Github) };
    assert!(matches!(guards(&gone, &BTreeSet::new()).await, Err(ForgeError::Unreachable { .. })));
}

#[tokio::test]
async fn an_answer_that_is_none_is_not_no_environments() {
    let long = format!("[\"{}\"]", "x".repeat(5 << 20));
    let deep = "[".repeat(100_000);
    for body in
        ["", "{", "null", "{}", "[1]", "{\"environments\":[]}", "{\"total_count\":0}", "<html>", &long, &deep]
    {
        let fake = Fake::start().await;
        fake.on(ENVIRONMENTS, 200, &[], body);
        fake.on(PROTECTED, 200, &[], body);
        for forge in [Forge::Github, Forge::Gitlab] {
            let error = fake.guards(forge).await.unwrap_err();
            assert!(matches!(error, ForgeError::Malformed { .. }), "{forge} {error}");
        }
    }
    // Without what would say who may deploy.
    let fake = Fake::start().await;
    fake.on(PROTECTED, 200, &[], json!([{ "name": "production" }]));
    assert!(matches!(fake.guards(Forge::Gitlab).await, Err(ForgeError::Malformed { .. })));
    // An empty list is one.
    let fake = Fake::start().await;
    fake.on(ENVIRONMENTS, 200, &[], list(&[]));
    fake.on(PROTECTED, 200, &[], "[]");
    assert_eq!(fake.guards(Forge::Github).await.unwrap(), []);
    assert_eq!(fake.guards(Forge::Gitlab).await.unwrap(), []);
}

#[tokio::test]
async fn f7_a_project_is_a_name_and_not_a_path() {
    let fake = Fake::start().await;
    for (forge, project) in [
        (Forge::Github, "acme"),
        (Forge::Github, "acme/shop/../../user"),
        (Forge::Github, "../x"),
        (Forge::Github, "acme/"),
        (Forge::Github, "acme/sh?op"),
        (Forge::Gitlab, ""),
        (Forge::Gitlab, "a/../b"),
    ] {
        let settings = Settings { project: project.to_owned(), ..fake.settings(forge) };
        let error = guards(&settings, &BTreeSet::new()).await.unwrap_err();
        assert!(matches!(error, ForgeError::Project { .. }), "{project}: {error}");
    }
    assert_eq!(fake.asked(), []);
    let settings = Settings { token: Zeroizing::new("a\nb".into()), ..fake.settings(Forge::Github) };
    assert!(matches!(guards(&settings, &BTreeSet::new()).await, Err(ForgeError::Token { .. })));
}
