//! `doctor`: where to look.

use std::path::PathBuf;

use clap::Args;

use super::present;

pub(super) const HELP: &str = "\
Looks at the policy file, and at the workflow files of the repository: GitHub's
in .github/workflows with the action.yml files of the repository, GitLab's
.gitlab-ci.yml with what it includes from there. With GITHUB_TOKEN or GH_TOKEN
and GITHUB_REPOSITORY, or GITLAB_TOKEN and CI_PROJECT_ID, the environments there
that have names of the policy's are looked at too (GITHUB_API_URL and
CI_API_V4_URL say where the API is). Each finding has a code (docs/doctor.md),
its place and the fix. What was not looked at is said.

Exit code 0: nothing was found. 1: something was. 3: nothing was, and something
that should have been looked at could not be read.

EXAMPLES
  samebits doctor
  samebits doctor --repository ../shop -o json";

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The folder with the workflow files; by default the repository that the policy file is in, or else its folder.
    #[arg(long, value_name = "DIR", value_parser = present)]
    pub(crate) repository: Option<PathBuf>,
}
