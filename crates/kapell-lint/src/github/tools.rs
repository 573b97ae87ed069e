//! What programs and actions do, how long they take, and what they cache: data, with a version.
//!
//! Times are priors for a job on a hosted runner with two to four cores, in seconds, from the order of magnitude of
//! public runs; recorded durations replace them.

use kapell_spec::github::Step;

use super::script::Command;

/// The version of the tables, raised with every change of them.
pub const TABLES: u32 = 1;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing that lasts: prints, moves files about, asks for a version.
    Trivial,
    /// Fetches the repository.
    Checkout,
    /// Installs a language or a tool.
    Setup,
    /// Installs dependencies.
    Install,
    /// Restores or saves a cache.
    Cache,
    /// Looks at the code without running it: lint, format, types.
    Lint,
    /// Looks for known holes in dependencies or code.
    Audit,
    /// Runs tests.
    Test,
    /// Builds.
    Build,
    /// Gives files to other jobs or people.
    Upload,
    /// Takes files of other jobs.
    Download,
    /// Tells people: comments, messages, summaries.
    Report,
    /// Opens or changes a pull request.
    PullRequest,
    /// Pushes commits.
    Push,
    /// Makes or pushes a tag.
    Tag,
    /// Makes or changes a release.
    Release,
    /// Gives a package or an image to a registry.
    Publish,
    /// Puts pages online, which the next deployment replaces as a whole.
    Pages,
    /// Changes something that runs.
    Deploy,
    /// Starts another workflow.
    Dispatch,
    /// Keeps files where others find them: object storage.
    Store,
    /// Not known.
    Unknown,
}

impl Kind {
    /// Tells whether it changes something outside of the run that others rely on.
    #[must_use]
    pub fn mutates(self) -> bool {
        matches!(
            self,
            Self::Push
                | Self::Tag
                | Self::Release
                | Self::Publish
                | Self::Pages
                | Self::Deploy
                | Self::Dispatch
        )
    }

    /// Tells whether something goes out through it that another job could rely on.
    #[must_use]
    pub fn may_carry(self) -> bool {
        self.mutates() || matches!(self, Self::Store | Self::PullRequest | Self::Unknown)
    }

    /// Tells whether it can find a fault in what is checked.
    #[must_use]
    pub fn checks(self) -> bool {
        matches!(self, Self::Lint | Self::Test | Self::Build | Self::Audit)
    }
}

/// What a command or an action does, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// What it does.
    pub kind: Kind,
    /// How long it takes, in seconds.
    pub seconds: u32,
}

const fn work(kind: Kind, seconds: u32) -> Work {
    Work { kind, seconds }
}

/// Commands by their first words. The longest that fits counts.
const COMMANDS: &[(&str, Kind, u32)] = &[
    ("npm ci", Kind::Install, 45),
    ("npm install", Kind::Install, 45),
    ("npm i", Kind::Install, 45),
    ("npm test", Kind::Test, 120),
    ("npm t", Kind::Test, 120),
    ("npm publish", Kind::Publish, 15),
    ("npm audit", Kind::Audit, 10),
    ("npm version", Kind::Trivial, 1),
    ("npm pack", Kind::Build, 10),
    ("npm view", Kind::Trivial, 2),
    ("npm pkg", Kind::Trivial, 1),
    ("npm config", Kind::Trivial, 1),
    ("npm exec", Kind::Unknown, 30),
    ("pnpm install", Kind::Install, 40),
    ("pnpm i", Kind::Install, 40),
    ("pnpm test", Kind::Test, 120),
    ("pnpm publish", Kind::Publish, 15),
    ("pnpm audit", Kind::Audit, 10),
    ("pnpm store", Kind::Trivial, 1),
    ("yarn install", Kind::Install, 45),
    ("yarn test", Kind::Test, 120),
    ("yarn publish", Kind::Publish, 15),
    ("yarn npm publish", Kind::Publish, 15),
    ("bun install", Kind::Install, 20),
    ("bun test", Kind::Test, 60),
    ("bun publish", Kind::Publish, 15),
    ("pip install", Kind::Install, 30),
    ("pip3 install", Kind::Install, 30),
    ("pip list", Kind::Trivial, 1),
    ("pip-audit", Kind::Audit, 15),
    ("uv sync", Kind::Install, 15),
    ("uv pip install", Kind::Install, 15),
    ("uv pip list", Kind::Trivial, 1),
    ("uv python install", Kind::Setup, 5),
    ("uv venv", Kind::Setup, 1),
    ("uv build", Kind::Build, 20),
    ("uv lock", Kind::Lint, 5),
    ("uv publish", Kind::Publish, 15),
    ("uv --version", Kind::Trivial, 1),
    ("uv tool install", Kind::Setup, 5),
    ("poetry install", Kind::Install, 45),
    ("poetry build", Kind::Build, 10),
    ("poetry publish", Kind::Publish, 15),
    ("poetry check", Kind::Lint, 3),
    ("pdm install", Kind::Install, 40),
    ("pipenv install", Kind::Install, 45),
    ("pytest", Kind::Test, 120),
    ("py.test", Kind::Test, 120),
    ("unittest", Kind::Test, 60),
    ("tox", Kind::Test, 180),
    ("nox", Kind::Test, 180),
    ("ruff", Kind::Lint, 5),
    ("black", Kind::Lint, 10),
    ("isort", Kind::Lint, 5),
    ("flake8", Kind::Lint, 15),
    ("pylint", Kind::Lint, 60),
    ("mypy", Kind::Lint, 45),
    ("pyright", Kind::Lint, 45),
    ("ty check", Kind::Lint, 10),
    ("bandit", Kind::Audit, 10),
    ("safety", Kind::Audit, 10),
    ("pre-commit run", Kind::Lint, 60),
    ("pre-commit", Kind::Lint, 60),
    ("build", Kind::Build, 20),
    ("twine check", Kind::Lint, 2),
    ("twine upload", Kind::Publish, 15),
    ("eslint", Kind::Lint, 40),
    ("prettier", Kind::Lint, 15),
    ("biome", Kind::Lint, 5),
    ("stylelint", Kind::Lint, 15),
    ("markdownlint", Kind::Lint, 5),
    ("markdownlint-cli2", Kind::Lint, 5),
    ("tsc", Kind::Lint, 45),
    ("vue-tsc", Kind::Lint, 45),
    ("svelte-check", Kind::Lint, 30),
    ("jest", Kind::Test, 120),
    ("vitest", Kind::Test, 90),
    ("mocha", Kind::Test, 60),
    ("ava", Kind::Test, 60),
    ("cypress run", Kind::Test, 300),
    ("playwright test", Kind::Test, 300),
    ("playwright install", Kind::Setup, 45),
    ("vite build", Kind::Build, 45),
    ("next build", Kind::Build, 90),
    ("webpack", Kind::Build, 60),
    ("rollup", Kind::Build, 30),
    ("tsup", Kind::Build, 20),
    ("turbo run build", Kind::Build, 120),
    ("cargo build", Kind::Build, 240),
    ("cargo test", Kind::Test, 300),
    ("cargo nextest", Kind::Test, 300),
    ("cargo check", Kind::Lint, 120),
    ("cargo clippy", Kind::Lint, 150),
    ("cargo fmt", Kind::Lint, 5),
    ("cargo doc", Kind::Build, 120),
    ("cargo bench", Kind::Test, 300),
    ("cargo miri", Kind::Test, 600),
    ("cargo run", Kind::Build, 120),
    ("cargo install", Kind::Setup, 120),
    ("cargo binstall", Kind::Setup, 5),
    ("cargo fetch", Kind::Install, 20),
    ("cargo metadata", Kind::Trivial, 5),
    ("cargo publish", Kind::Publish, 60),
    ("cargo audit", Kind::Audit, 10),
    ("cargo deny", Kind::Audit, 10),
    ("cargo hack", Kind::Lint, 300),
    ("cargo machete", Kind::Lint, 5),
    ("cargo shear", Kind::Lint, 5),
    ("cargo zigbuild", Kind::Build, 300),
    ("cross build", Kind::Build, 300),
    ("cross test", Kind::Test, 400),
    ("rustup", Kind::Setup, 15),
    ("go build", Kind::Build, 60),
    ("go test", Kind::Test, 120),
    ("go vet", Kind::Lint, 30),
    ("go mod download", Kind::Install, 15),
    ("go mod", Kind::Lint, 5),
    ("go install", Kind::Setup, 30),
    ("gofmt", Kind::Lint, 2),
    ("golangci-lint", Kind::Lint, 60),
    ("staticcheck", Kind::Lint, 30),
    ("govulncheck", Kind::Audit, 30),
    ("mvn test", Kind::Test, 180),
    ("mvn verify", Kind::Test, 240),
    ("mvn package", Kind::Build, 180),
    ("mvn install", Kind::Build, 180),
    ("mvn deploy", Kind::Publish, 180),
    ("mvn", Kind::Build, 180),
    ("mvnw test", Kind::Test, 180),
    ("mvnw verify", Kind::Test, 240),
    ("mvnw deploy", Kind::Publish, 180),
    ("mvnw", Kind::Build, 180),
    ("gradle test", Kind::Test, 180),
    ("gradle check", Kind::Test, 240),
    ("gradle publish", Kind::Publish, 120),
    ("gradle", Kind::Build, 180),
    ("gradlew test", Kind::Test, 180),
    ("gradlew check", Kind::Test, 240),
    ("gradlew publish", Kind::Publish, 120),
    ("gradlew", Kind::Build, 180),
    ("dotnet restore", Kind::Install, 30),
    ("dotnet build", Kind::Build, 60),
    ("dotnet test", Kind::Test, 120),
    ("dotnet format", Kind::Lint, 30),
    ("dotnet publish", Kind::Build, 60),
    ("dotnet pack", Kind::Build, 30),
    ("dotnet nuget push", Kind::Publish, 15),
    ("bundle install", Kind::Install, 45),
    ("rspec", Kind::Test, 120),
    ("rubocop", Kind::Lint, 20),
    ("rake test", Kind::Test, 120),
    ("gem push", Kind::Publish, 10),
    ("gem build", Kind::Build, 3),
    ("composer install", Kind::Install, 40),
    ("phpunit", Kind::Test, 60),
    ("phpstan", Kind::Lint, 40),
    ("mix deps.get", Kind::Install, 20),
    ("mix test", Kind::Test, 90),
    ("mix compile", Kind::Build, 60),
    ("mix format", Kind::Lint, 3),
    ("flutter test", Kind::Test, 120),
    ("flutter build", Kind::Build, 240),
    ("swift build", Kind::Build, 120),
    ("swift test", Kind::Test, 180),
    ("cmake", Kind::Build, 90),
    ("ctest", Kind::Test, 120),
    ("ninja", Kind::Build, 120),
    ("make", Kind::Unknown, 60),
    ("bazel build", Kind::Build, 240),
    ("bazel test", Kind::Test, 300),
    ("docker build", Kind::Build, 180),
    ("docker buildx build", Kind::Build, 180),
    ("docker push", Kind::Publish, 30),
    ("docker login", Kind::Trivial, 2),
    ("docker logout", Kind::Trivial, 1),
    ("docker tag", Kind::Trivial, 1),
    ("docker pull", Kind::Setup, 20),
    ("docker buildx imagetools create", Kind::Publish, 10),
    ("docker manifest push", Kind::Publish, 10),
    ("docker compose up", Kind::Setup, 60),
    ("docker compose down", Kind::Trivial, 5),
    ("docker compose logs", Kind::Trivial, 1),
    ("docker compose build", Kind::Build, 120),
    ("kubectl apply", Kind::Deploy, 20),
    ("kubectl set image", Kind::Deploy, 20),
    ("kubectl rollout restart", Kind::Deploy, 20),
    ("kubectl rollout status", Kind::Trivial, 60),
    ("kubectl create", Kind::Deploy, 10),
    ("kubectl delete", Kind::Deploy, 10),
    ("kubectl get", Kind::Trivial, 2),
    ("helm upgrade", Kind::Deploy, 60),
    ("helm install", Kind::Deploy, 60),
    ("helm push", Kind::Publish, 10),
    ("helm lint", Kind::Lint, 2),
    ("helm template", Kind::Lint, 2),
    ("terraform apply", Kind::Deploy, 120),
    ("terraform destroy", Kind::Deploy, 120),
    ("terraform plan", Kind::Lint, 40),
    ("terraform validate", Kind::Lint, 3),
    ("terraform fmt", Kind::Lint, 1),
    ("terraform init", Kind::Setup, 10),
    ("pulumi up", Kind::Deploy, 120),
    ("flyctl deploy", Kind::Deploy, 90),
    ("fly deploy", Kind::Deploy, 90),
    ("vercel deploy", Kind::Deploy, 60),
    ("vercel build", Kind::Build, 60),
    ("vercel", Kind::Deploy, 60),
    ("netlify deploy", Kind::Deploy, 40),
    ("wrangler deploy", Kind::Deploy, 20),
    ("wrangler publish", Kind::Deploy, 20),
    ("wrangler pages deploy", Kind::Pages, 30),
    ("wrangler pages publish", Kind::Pages, 30),
    ("firebase deploy", Kind::Deploy, 60),
    ("serverless deploy", Kind::Deploy, 120),
    ("sls deploy", Kind::Deploy, 120),
    ("cdk deploy", Kind::Deploy, 180),
    ("sam deploy", Kind::Deploy, 120),
    ("eb deploy", Kind::Deploy, 120),
    ("railway up", Kind::Deploy, 60),
    ("gcloud run deploy", Kind::Deploy, 60),
    ("gcloud app deploy", Kind::Deploy, 120),
    ("gcloud functions deploy", Kind::Deploy, 90),
    ("gcloud builds submit", Kind::Publish, 180),
    ("az webapp", Kind::Deploy, 60),
    ("az containerapp update", Kind::Deploy, 60),
    ("aws ecs update-service", Kind::Deploy, 20),
    ("aws lambda update-function-code", Kind::Deploy, 15),
    ("aws cloudformation deploy", Kind::Deploy, 120),
    ("aws cloudfront create-invalidation", Kind::Deploy, 5),
    ("aws s3", Kind::Store, 20),
    ("aws configure", Kind::Trivial, 1),
    ("gsutil", Kind::Store, 20),
    ("gcloud storage", Kind::Store, 20),
    ("azcopy", Kind::Store, 20),
    ("az storage", Kind::Store, 20),
    ("rclone", Kind::Store, 20),
    ("oras push", Kind::Publish, 15),
    ("rsync", Kind::Deploy, 20),
    ("scp", Kind::Deploy, 10),
    ("ssh", Kind::Deploy, 20),
    ("mkdocs build", Kind::Build, 20),
    ("mkdocs gh-deploy", Kind::Pages, 30),
    ("mike deploy", Kind::Pages, 20),
    ("sphinx-build", Kind::Build, 60),
    ("hugo", Kind::Build, 10),
    ("goreleaser", Kind::Release, 240),
    ("semantic-release", Kind::Release, 30),
    ("changeset publish", Kind::Publish, 30),
    ("lerna publish", Kind::Publish, 30),
    ("gh-pages", Kind::Pages, 20),
    ("gh release create", Kind::Release, 10),
    ("gh release upload", Kind::Release, 10),
    ("gh release edit", Kind::Release, 5),
    ("gh release delete", Kind::Release, 5),
    ("gh release download", Kind::Download, 10),
    ("gh release view", Kind::Trivial, 2),
    ("gh release list", Kind::Trivial, 2),
    ("gh workflow run", Kind::Dispatch, 3),
    ("gh run download", Kind::Download, 10),
    ("gh pr comment", Kind::Report, 2),
    ("gh pr create", Kind::PullRequest, 3),
    ("gh pr merge", Kind::PullRequest, 3),
    ("gh pr edit", Kind::Report, 2),
    ("gh pr view", Kind::Trivial, 2),
    ("gh pr list", Kind::Trivial, 2),
    ("gh issue", Kind::Report, 2),
    ("gh api", Kind::Unknown, 3),
    ("gh", Kind::Unknown, 3),
    ("git push", Kind::Push, 4),
    ("git tag", Kind::Trivial, 1),
    ("git", Kind::Trivial, 2),
    ("curl", Kind::Unknown, 5),
    ("wget", Kind::Setup, 5),
    ("apt-get install", Kind::Setup, 25),
    ("apt install", Kind::Setup, 25),
    ("apt-get", Kind::Setup, 10),
    ("apt", Kind::Setup, 10),
    ("brew install", Kind::Setup, 40),
    ("brew", Kind::Setup, 10),
    ("choco install", Kind::Setup, 60),
    ("corepack", Kind::Setup, 2),
    ("shellcheck", Kind::Lint, 3),
    ("actionlint", Kind::Lint, 2),
    ("hadolint", Kind::Lint, 2),
    ("codespell", Kind::Lint, 3),
    ("typos", Kind::Lint, 2),
    ("yamllint", Kind::Lint, 2),
    ("gitleaks", Kind::Audit, 10),
    ("trivy", Kind::Audit, 30),
    ("semgrep", Kind::Audit, 60),
];

/// Programs that leave nothing behind that matters.
const TRIVIAL: &[&str] = &[
    "echo",
    "printf",
    "cat",
    "ls",
    "cd",
    "pwd",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "chmod",
    "chown",
    "touch",
    "export",
    "set",
    "true",
    "false",
    ":",
    "exit",
    "return",
    "test",
    "[",
    "[[",
    "sleep",
    "date",
    "which",
    "whoami",
    "env",
    "head",
    "tail",
    "grep",
    "egrep",
    "sed",
    "awk",
    "cut",
    "sort",
    "uniq",
    "wc",
    "tr",
    "xargs",
    "find",
    "tee",
    "diff",
    "jq",
    "yq",
    "tar",
    "zip",
    "unzip",
    "gzip",
    "gunzip",
    "base64",
    "sha256sum",
    "md5sum",
    "basename",
    "dirname",
    "realpath",
    "readlink",
    "ln",
    "du",
    "df",
    "free",
    "uname",
    "id",
    "read",
    "shift",
    "local",
    "declare",
    "unset",
    "shopt",
    "pushd",
    "popd",
    "wait",
    "kill",
    "trap",
    "seq",
    "command",
    "type",
    "hash",
    "source",
    ".",
    "install",
    "stat",
    "file",
    "id",
    "let",
    "continue",
    "break",
    "nproc",
    "hostname",
    "sysctl",
    "ulimit",
    "umask",
    "alias",
    "eval",
    "ssh-add",
    "ssh-agent",
    "ssh-keyscan",
    "security",
    "defaults",
    "xcode-select",
    "break",
];

/// Words of script names and targets that tell what they do, strongest first.
const SCRIPT_WORDS: &[(&str, Kind, u32)] = &[
    ("deploy", Kind::Deploy, 60),
    ("publish", Kind::Publish, 30),
    ("release", Kind::Release, 30),
    ("lint", Kind::Lint, 40),
    ("typecheck", Kind::Lint, 40),
    ("typescript", Kind::Lint, 40),
    ("types", Kind::Lint, 40),
    ("tsc", Kind::Lint, 40),
    ("format", Kind::Lint, 10),
    ("fmt", Kind::Lint, 10),
    ("prettier", Kind::Lint, 10),
    ("eslint", Kind::Lint, 40),
    ("clippy", Kind::Lint, 120),
    ("e2e", Kind::Test, 300),
    ("integration", Kind::Test, 240),
    ("test", Kind::Test, 120),
    ("tests", Kind::Test, 120),
    ("itest", Kind::Test, 240),
    ("spec", Kind::Test, 120),
    ("coverage", Kind::Test, 120),
    ("bench", Kind::Test, 240),
    ("benchmark", Kind::Test, 240),
    ("build", Kind::Build, 60),
    ("compile", Kind::Build, 60),
    ("docs", Kind::Build, 40),
    ("check", Kind::Lint, 40),
    ("validate", Kind::Lint, 20),
    ("verify", Kind::Lint, 20),
    ("audit", Kind::Audit, 15),
    ("install", Kind::Install, 45),
    ("setup", Kind::Setup, 30),
    ("generate", Kind::Build, 20),
];

/// Actions by name.
const ACTIONS: &[(&str, Kind, u32)] = &[
    ("actions/checkout", Kind::Checkout, 5),
    ("actions/setup-node", Kind::Setup, 8),
    ("actions/setup-python", Kind::Setup, 8),
    ("actions/setup-go", Kind::Setup, 10),
    ("actions/setup-java", Kind::Setup, 10),
    ("actions/setup-dotnet", Kind::Setup, 15),
    ("actions/cache", Kind::Cache, 10),
    ("actions/cache/restore", Kind::Cache, 8),
    ("actions/cache/save", Kind::Cache, 8),
    ("actions/upload-artifact", Kind::Upload, 6),
    ("actions/download-artifact", Kind::Download, 5),
    ("actions/github-script", Kind::Unknown, 4),
    ("actions/labeler", Kind::Report, 3),
    ("actions/stale", Kind::Report, 10),
    ("actions/first-interaction", Kind::Report, 3),
    ("actions/create-github-app-token", Kind::Setup, 2),
    ("actions/attest-build-provenance", Kind::Report, 5),
    ("actions/configure-pages", Kind::Setup, 2),
    ("actions/upload-pages-artifact", Kind::Upload, 6),
    ("actions/deploy-pages", Kind::Pages, 20),
    ("actions/create-release", Kind::Release, 3),
    ("actions/upload-release-asset", Kind::Release, 5),
    ("actions/dependency-review-action", Kind::Audit, 10),
    ("pnpm/action-setup", Kind::Setup, 3),
    ("oven-sh/setup-bun", Kind::Setup, 3),
    ("denoland/setup-deno", Kind::Setup, 3),
    ("astral-sh/setup-uv", Kind::Setup, 3),
    ("astral-sh/ruff-action", Kind::Lint, 5),
    ("ruby/setup-ruby", Kind::Setup, 20),
    ("shivammathur/setup-php", Kind::Setup, 15),
    ("erlef/setup-beam", Kind::Setup, 15),
    ("subosito/flutter-action", Kind::Setup, 40),
    ("dtolnay/rust-toolchain", Kind::Setup, 12),
    ("actions-rs/toolchain", Kind::Setup, 15),
    ("actions-rust-lang/setup-rust-toolchain", Kind::Setup, 15),
    ("swatinem/rust-cache", Kind::Cache, 15),
    ("mozilla-actions/sccache-action", Kind::Setup, 3),
    ("taiki-e/install-action", Kind::Setup, 3),
    ("taiki-e/cache-cargo-install-action", Kind::Setup, 5),
    ("baptiste0928/cargo-install", Kind::Setup, 20),
    ("gradle/actions/setup-gradle", Kind::Setup, 8),
    ("gradle/gradle-build-action", Kind::Build, 120),
    ("gradle/wrapper-validation-action", Kind::Lint, 3),
    ("golangci/golangci-lint-action", Kind::Lint, 60),
    ("rustsec/audit-check", Kind::Audit, 10),
    ("embarkstudios/cargo-deny-action", Kind::Audit, 15),
    ("crate-ci/typos", Kind::Lint, 3),
    ("pre-commit/action", Kind::Lint, 40),
    ("super-linter/super-linter", Kind::Lint, 120),
    ("davidanson/markdownlint-cli2-action", Kind::Lint, 5),
    ("reviewdog/action-actionlint", Kind::Lint, 5),
    ("github/codeql-action/init", Kind::Setup, 20),
    ("github/codeql-action/autobuild", Kind::Build, 60),
    ("github/codeql-action/analyze", Kind::Audit, 180),
    ("github/codeql-action/upload-sarif", Kind::Report, 5),
    ("aquasecurity/trivy-action", Kind::Audit, 30),
    ("codecov/codecov-action", Kind::Report, 5),
    ("coverallsapp/github-action", Kind::Report, 5),
    ("codspeedhq/action", Kind::Test, 180),
    ("dorny/paths-filter", Kind::Trivial, 2),
    ("dorny/test-reporter", Kind::Report, 5),
    ("tj-actions/changed-files", Kind::Trivial, 3),
    ("ana06/get-changed-files", Kind::Trivial, 2),
    ("re-actors/alls-green", Kind::Lint, 2),
    ("docker/setup-qemu-action", Kind::Setup, 5),
    ("docker/setup-buildx-action", Kind::Setup, 5),
    ("docker/login-action", Kind::Setup, 2),
    ("docker/metadata-action", Kind::Trivial, 1),
    ("docker/build-push-action", Kind::Build, 180),
    ("docker/bake-action", Kind::Build, 180),
    ("depot/build-push-action", Kind::Build, 120),
    ("depot/setup-action", Kind::Setup, 2),
    ("aws-actions/configure-aws-credentials", Kind::Setup, 2),
    ("aws-actions/amazon-ecr-login", Kind::Setup, 2),
    ("aws-actions/amazon-ecs-deploy-task-definition", Kind::Deploy, 120),
    ("google-github-actions/auth", Kind::Setup, 2),
    ("google-github-actions/setup-gcloud", Kind::Setup, 10),
    ("google-github-actions/deploy-cloudrun", Kind::Deploy, 60),
    ("google-github-actions/deploy-appengine", Kind::Deploy, 120),
    ("azure/login", Kind::Setup, 5),
    ("azure/webapps-deploy", Kind::Deploy, 60),
    ("azure/k8s-deploy", Kind::Deploy, 60),
    ("azure/setup-helm", Kind::Setup, 3),
    ("azure/setup-kubectl", Kind::Setup, 3),
    ("superfly/flyctl-actions/setup-flyctl", Kind::Setup, 3),
    ("superfly/flyctl-actions", Kind::Deploy, 90),
    ("cloudflare/wrangler-action", Kind::Deploy, 30),
    ("cloudflare/pages-action", Kind::Pages, 30),
    ("amondnet/vercel-action", Kind::Deploy, 60),
    ("nwtgck/actions-netlify", Kind::Pages, 30),
    ("firebaseextended/action-hosting-deploy", Kind::Pages, 40),
    ("appleboy/ssh-action", Kind::Deploy, 30),
    ("appleboy/scp-action", Kind::Deploy, 15),
    ("burnett01/rsync-deployments", Kind::Deploy, 20),
    ("hashicorp/setup-terraform", Kind::Setup, 4),
    ("peaceiris/actions-gh-pages", Kind::Pages, 8),
    ("jamesives/github-pages-deploy-action", Kind::Pages, 8),
    ("crazy-max/ghaction-github-pages", Kind::Pages, 8),
    ("stefanzweifel/git-auto-commit-action", Kind::Push, 4),
    ("endbug/add-and-commit", Kind::Push, 4),
    ("ad-m/github-push-action", Kind::Push, 4),
    ("peter-evans/create-pull-request", Kind::PullRequest, 6),
    ("peter-evans/repository-dispatch", Kind::Dispatch, 2),
    ("benc-uk/workflow-dispatch", Kind::Dispatch, 2),
    ("peter-evans/create-or-update-comment", Kind::Report, 2),
    ("marocchino/sticky-pull-request-comment", Kind::Report, 2),
    ("slackapi/slack-github-action", Kind::Report, 2),
    ("8398a7/action-slack", Kind::Report, 2),
    ("rtcamp/action-slack-notify", Kind::Report, 3),
    ("softprops/action-gh-release", Kind::Release, 8),
    ("ncipollo/release-action", Kind::Release, 6),
    ("marvinpinto/action-automatic-releases", Kind::Release, 6),
    ("svenstaro/upload-release-action", Kind::Release, 6),
    ("release-drafter/release-drafter", Kind::Release, 4),
    ("googleapis/release-please-action", Kind::Release, 6),
    ("google-github-actions/release-please-action", Kind::Release, 6),
    ("goreleaser/goreleaser-action", Kind::Release, 240),
    ("cycjimmy/semantic-release-action", Kind::Release, 30),
    ("changesets/action", Kind::Publish, 30),
    ("pypa/gh-action-pypi-publish", Kind::Publish, 12),
    ("js-devtools/npm-publish", Kind::Publish, 10),
    ("rust-lang/crates-io-auth-action", Kind::Setup, 2),
    ("katyo/publish-crates", Kind::Publish, 60),
    ("mathieudutour/github-tag-action", Kind::Tag, 3),
    ("anothrnick/github-tag-action", Kind::Tag, 3),
    ("pypa/cibuildwheel", Kind::Build, 600),
    ("pyo3/maturin-action", Kind::Build, 300),
    ("tauri-apps/tauri-action", Kind::Build, 600),
    ("cypress-io/github-action", Kind::Test, 300),
    ("microsoft/playwright-github-action", Kind::Setup, 45),
    ("step-security/harden-runner", Kind::Setup, 2),
    ("webfactory/ssh-agent", Kind::Setup, 1),
    ("jlumbroso/free-disk-space", Kind::Setup, 60),
    ("extractions/setup-just", Kind::Setup, 3),
    ("arduino/setup-task", Kind::Setup, 3),
    ("jdx/mise-action", Kind::Setup, 10),
    ("cachix/install-nix-action", Kind::Setup, 15),
    ("determinatesystems/nix-installer-action", Kind::Setup, 15),
    ("amannn/action-semantic-pull-request", Kind::Lint, 3),
];

/// Flags of programs that stand between the program and its command, and take a value.
const VALUE_FLAGS: &[&str] = &[
    "--prefix",
    "-w",
    "--workspace",
    "--filter",
    "-F",
    "-C",
    "--cwd",
    "--dir",
    "-f",
    "--file",
    "--project-name",
    "-p",
];

/// Programs whose commands are named by the words after them.
const SCRIPT_RUNNERS: &[&str] = &[
    "npm", "pnpm", "yarn", "bun", "make", "just", "task", "nx", "turbo", "lerna", "rake", "invoke", "poe",
    "deno",
];

/// Tells what a command does.
#[must_use]
pub fn command(command: &Command) -> Work {
    let program = command.program();
    if TRIVIAL.contains(&program) || program.is_empty() {
        // `make install` is written differently, and `install` copies files.
        let seconds = if program == "sleep" {
            command.inner().get(1).and_then(|word| word.parse().ok()).unwrap_or(1)
        } else {
            0
        };
        return work(Kind::Trivial, seconds);
    }
    let words = plain_words(command, program);
    if words.iter().any(|word| word == "--version" || word == "--help" || word == "-V") && words.len() <= 2 {
        return work(Kind::Trivial, 1);
    }
    if is_dry(command) {
        return work(Kind::Lint, 10);
    }
    if let Some(found) = special(program, &words, command) {
        return found;
    }
    if SCRIPT_RUNNERS.contains(&program)
        && let Some(found) = by_script(&words[1..])
    {
        return found;
    }
    for len in (1..=words.len().min(4)).rev() {
        let prefix = words[..len].join(" ");
        if let Some(row) = COMMANDS.iter().find(|row| row.0 == prefix) {
            return work(row.1, row.2);
        }
    }
    let first = command.inner().first().map_or("", String::as_str);
    let is_path = first.contains('/');
    let interpreter =
        ["bash", "sh", "node", "python", "python3", "ruby", "perl", "pwsh", "tsx", "ts-node", "deno"]
            .contains(&program);
    if is_path || interpreter {
        let name = if interpreter {
            words.iter().skip(1).find(|word| !word.starts_with('-'))
        } else {
            words.first()
        };
        if let Some(kind) = name.and_then(|name| mutation_in_name(name)) {
            return work(kind, 60);
        }
    }
    work(Kind::Unknown, 20)
}

/// Tells whether the command only pretends.
fn is_dry(command: &Command) -> bool {
    command.words.iter().any(|word| {
        matches!(
            word.as_str(),
            "--dry-run" | "--dryrun" | "--dry-run=client" | "--dry-run=server" | "--no-push"
        )
    })
}

fn special(program: &str, words: &[String], command: &Command) -> Option<Work> {
    match program {
        "git" => {
            let has = |word: &str| command.words.iter().any(|known| known == word);
            if words.get(1).is_some_and(|word| word == "push") {
                let tags = has("--tags") || has("--follow-tags") && !has("origin");
                let names_tag = command.words.iter().any(|word| {
                    word.starts_with("v$")
                        || word.contains("refs/tags/")
                        || word.to_ascii_uppercase().contains("TAG")
                });
                return Some(work(if tags || names_tag { Kind::Tag } else { Kind::Push }, 4));
            }
            None
        }
        "docker" => {
            let builds = words.iter().any(|word| word == "build");
            (builds && command.words.iter().any(|word| word == "--push")).then_some(work(Kind::Publish, 200))
        }
        "yarn" if words.len() == 1 => Some(work(Kind::Install, 45)),
        "aws"
            if words.get(1).is_some_and(|word| word == "s3")
                && words.get(2).is_some_and(|word| word == "sync") =>
        {
            Some(work(Kind::Store, 30))
        }
        _ => None,
    }
}

/// Returns the words without flags in front of the command they belong to, and without a toolchain.
fn plain_words(command: &Command, program: &str) -> Vec<String> {
    let mut words = vec![program.to_owned()];
    let mut rest = command.inner().iter().skip(1).peekable();
    while let Some(word) = rest.next() {
        if word.starts_with('+') && program == "cargo" {
            continue;
        }
        if word.starts_with('-') && words.len() < 3 {
            if word == "--" {
                break;
            }
            if word == "--version" || word == "--help" || word == "-V" {
                words.push(word.clone());
            }
            if VALUE_FLAGS.contains(&word.as_str()) && SCRIPT_RUNNERS.contains(&program) {
                rest.next();
            }
            continue;
        }
        words.push(word.clone());
    }
    words
}

/// Tells what `npm run x` or `make x` does, by the name of the script.
fn by_script(words: &[String]) -> Option<Work> {
    let mut words = words
        .iter()
        .filter(|word| !matches!(word.as_str(), "run" | "run-script" | "-s" | "task" | "affected"));
    let name = words.next()?;
    if matches!(
        name.as_str(),
        "ci" | "i"
            | "install"
            | "publish"
            | "audit"
            | "version"
            | "pack"
            | "view"
            | "pkg"
            | "config"
            | "exec"
            | "store"
            | "add"
            | "dlx"
            | "npm"
    ) {
        return None;
    }
    by_words(name)
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
}

fn by_words(name: &str) -> Option<Work> {
    let name = name.to_ascii_lowercase();
    SCRIPT_WORDS.iter().find(|row| parts(&name).any(|part| part == row.0)).map(|row| work(row.1, row.2))
}

/// Tells whether the name of a script says that it changes the outside.
fn mutation_in_name(name: &str) -> Option<Kind> {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let first = parts(&file).next()?;
    match first {
        "deploy" => Some(Kind::Deploy),
        "publish" => Some(Kind::Publish),
        "release" => Some(Kind::Release),
        _ => None,
    }
}

/// Tells what an action does.
#[must_use]
pub fn action(name: &str, step: &Step) -> Work {
    let found =
        ACTIONS.iter().find(|row| row.0 == name).map_or(work(Kind::Unknown, 15), |row| work(row.1, row.2));
    let yes = |input: &str| step.input(input).is_some_and(|text| !text.is("false"));
    match name {
        "docker/build-push-action" | "docker/bake-action" | "depot/build-push-action" if yes("push") => {
            // An expression may say no.
            if step.input("push").is_some_and(|text| text.is("true")) {
                work(Kind::Publish, 200)
            } else {
                work(Kind::Publish, 180)
            }
        }
        "goreleaser/goreleaser-action"
            if step.input("args").is_some_and(|args| {
                args.contains("--snapshot") || args.contains("check") || args.contains("build")
            }) =>
        {
            work(Kind::Build, 240)
        }
        "release-drafter/release-drafter" => work(Kind::Report, 4),
        "superfly/flyctl-actions" => work(Kind::Deploy, 90),
        _ => found,
    }
}

/// A tool that installs dependencies, and how they are cached.
#[derive(Debug)]
pub struct Installer {
    /// Its name.
    pub name: &'static str,
    /// The commands that install, by their first words.
    pub commands: &'static [&'static str],
    /// Its lock files.
    pub locks: &'static [&'static str],
    /// Parts of the paths that are worth keeping.
    pub paths: &'static [&'static str],
    /// The action that sets it up, its input for a cache, and the value for this tool.
    pub setup: Option<(&'static str, &'static str, &'static str)>,
    /// A folder that the commands wipe before they install.
    pub wiped: Option<(&'static str, &'static str)>,
    /// Actions that keep its cache by themselves.
    pub cached_by: &'static [&'static str],
}

/// Tools that install dependencies.
pub const INSTALLERS: &[Installer] = &[
    Installer {
        name: "npm",
        commands: &["npm ci", "npm install", "npm i"],
        locks: &["package-lock.json", "npm-shrinkwrap.json"],
        paths: &[".npm", "node_modules", "npm-cache"],
        setup: Some(("actions/setup-node", "cache", "npm")),
        wiped: Some(("npm ci", "node_modules")),
        cached_by: &[],
    },
    Installer {
        name: "pnpm",
        commands: &["pnpm install", "pnpm i"],
        locks: &["pnpm-lock.yaml"],
        paths: &["pnpm", "STORE_PATH", "node_modules"],
        setup: Some(("actions/setup-node", "cache", "pnpm")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "yarn",
        commands: &["yarn install", "yarn"],
        locks: &["yarn.lock"],
        paths: &["yarn", "node_modules"],
        setup: Some(("actions/setup-node", "cache", "yarn")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "pip",
        commands: &["pip install -r", "pip3 install -r"],
        locks: &["requirements.txt", "requirements", "pyproject.toml", "setup.py"],
        paths: &["pip", "venv", "site-packages", "pythonLocation"],
        setup: Some(("actions/setup-python", "cache", "pip")),
        wiped: None,
        cached_by: &["astral-sh/setup-uv"],
    },
    Installer {
        name: "poetry",
        commands: &["poetry install"],
        locks: &["poetry.lock"],
        paths: &["poetry", "venv"],
        setup: Some(("actions/setup-python", "cache", "poetry")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "cargo",
        commands: &[
            "cargo build",
            "cargo test",
            "cargo nextest",
            "cargo clippy",
            "cargo check",
            "cargo fetch",
        ],
        locks: &["Cargo.lock"],
        paths: &[".cargo", "target", "CARGO_HOME"],
        setup: None,
        wiped: None,
        cached_by: &[
            "swatinem/rust-cache",
            "actions-rust-lang/setup-rust-toolchain",
            "mozilla-actions/sccache-action",
            "moonrepo/setup-rust",
            "leafwing-studios/cargo-cache",
        ],
    },
    Installer {
        name: "go",
        commands: &["go mod download"],
        locks: &["go.sum"],
        paths: &["go/pkg/mod", "go-build", "GOMODCACHE"],
        // `actions/setup-go` has kept it by itself since v4.
        setup: None,
        wiped: None,
        cached_by: &["actions/setup-go"],
    },
    Installer {
        name: "gradle",
        commands: &["gradle", "gradlew"],
        locks: &["*.gradle*", "gradle-wrapper.properties", "gradle.lockfile", "libs.versions.toml"],
        paths: &[".gradle"],
        setup: Some(("actions/setup-java", "cache", "gradle")),
        wiped: None,
        cached_by: &["gradle/actions/setup-gradle", "gradle/gradle-build-action"],
    },
    Installer {
        name: "maven",
        commands: &["mvn", "mvnw"],
        locks: &["pom.xml"],
        paths: &[".m2"],
        setup: Some(("actions/setup-java", "cache", "maven")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "bundler",
        commands: &["bundle install"],
        locks: &["Gemfile.lock"],
        paths: &["vendor/bundle", ".bundle"],
        setup: Some(("ruby/setup-ruby", "bundler-cache", "true")),
        wiped: None,
        cached_by: &[],
    },
    Installer {
        name: "composer",
        commands: &["composer install"],
        locks: &["composer.lock"],
        paths: &["composer", "vendor"],
        setup: None,
        wiped: None,
        cached_by: &[],
    },
];

/// Finds the tool whose dependencies a command installs.
#[must_use]
pub fn installer(command: &Command) -> Option<&'static Installer> {
    let program = command.program();
    let words = plain_words(command, program);
    // `npm install -g x` installs no dependencies of the repository, and `npm install x` one of its own choice.
    let global = command.words.iter().any(|word| word == "-g" || word == "--global");
    let text = command.inner().join(" ");
    let named = words.len() > 2 && matches!(words[1].as_str(), "install" | "i") && program == "npm";
    if global || named {
        return None;
    }
    let fits = |prefix: &str| {
        if prefix.ends_with("-r") {
            return text.starts_with(prefix);
        }
        if prefix == "yarn" {
            return words.len() == 1 && words[0] == "yarn";
        }
        let parts: Vec<&str> = prefix.split(' ').collect();
        parts.len() <= words.len() && parts.iter().zip(&words).all(|(part, word)| part == word)
    };
    INSTALLERS.iter().find(|installer| installer.commands.iter().any(|prefix| fits(prefix)))
}

#[cfg(test)]
mod tests {
    use super::{super::script::commands, *};

    #[test]
    fn commands_are_known_by_their_words() {
        let kind = |script: &str| command(&commands(script)[0]).kind;
        let cases = [
            ("npm ci", Kind::Install),
            ("npm run build --if-present", Kind::Build),
            ("npm --prefix web run lint:fix", Kind::Lint),
            ("pnpm -r test", Kind::Test),
            ("yarn", Kind::Install),
            ("cargo +nightly clippy --all -- -D warnings", Kind::Lint),
            ("uv run pytest -x", Kind::Test),
            ("make test-all", Kind::Test),
            ("make", Kind::Unknown),
            ("git push", Kind::Push),
            ("git push origin --tags", Kind::Tag),
            ("git commit -m x", Kind::Trivial),
            ("docker buildx build --push .", Kind::Publish),
            ("docker build .", Kind::Build),
            ("npm publish --dry-run", Kind::Lint),
            ("npm publish", Kind::Publish),
            ("./scripts/deploy.sh prod", Kind::Deploy),
            ("bash utils/build/deploy-trace.sh", Kind::Deploy),
            ("./scripts/thing.sh", Kind::Unknown),
            ("echo deploy", Kind::Trivial),
            ("kubectl apply -f x", Kind::Deploy),
            ("go test ./...", Kind::Test),
            ("python -m build", Kind::Build),
            ("node --version", Kind::Trivial),
        ];
        for (script, expected) in cases {
            assert_eq!(kind(script), expected, "{script}");
        }
    }

    #[test]
    fn installers_are_found() {
        let name = |script: &str| installer(&commands(script)[0]).map(|found| found.name);
        let cases = [
            ("npm ci", Some("npm")),
            ("npm install", Some("npm")),
            ("npm install -g yarn", None),
            ("npm install left-pad", None),
            ("pip install -r requirements.txt", Some("pip")),
            ("pip install build", None),
            ("yarn", Some("yarn")),
            ("yarn build", None),
            ("cargo test", Some("cargo")),
            ("./gradlew check", Some("gradle")),
            ("bundle install", Some("bundler")),
            ("go test", None),
        ];
        for (script, expected) in cases {
            assert_eq!(name(script), expected, "{script}");
        }
    }
}
