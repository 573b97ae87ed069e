//! Commands and actions that bring a new version of what runs, and what becomes of the old one: one table for all rules that
//! ask for deployments.

use std::sync::LazyLock;

use kapell_spec::words::Words;

/// What becomes of the version that ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// It is replaced, whether the new one answers or not.
    Replaced,
    /// The platform keeps it until the new one answers, and can go back to it.
    Kept,
    /// It is a state of resources, to which one goes back by describing it again.
    State,
    /// Only a part of it is changed, which is done to a cluster for tests as well.
    Part,
    /// It stays; what readers were given of it is fetched anew.
    Stays,
}

/// A way to bring a new version.
#[derive(Debug)]
pub(crate) struct Rollout {
    /// The first words of the command, or the action.
    pub(crate) starts: &'static str,
    /// What becomes of the old version.
    pub(crate) old: Old,
    /// How to go back; empty if there is no command of its own for it.
    pub(crate) back: &'static str,
    /// Whether the same words make previews of pull requests, or set up what a test needs.
    pub(crate) tries: bool,
}

const fn row(starts: &'static str, old: Old, back: &'static str) -> Rollout {
    Rollout { starts, old, back, tries: false }
}

const fn tries(starts: &'static str, old: Old, back: &'static str) -> Rollout {
    Rollout { starts, old, back, tries: true }
}

const UNDO: &str = "kubectl rollout undo";
const OC_UNDO: &str = "oc rollout undo";
const TRAFFIC: &str = "gcloud run services update-traffic --to-revisions";
const ECS: &str = "aws ecs update-service --task-definition";
const SLOT: &str = "az webapp deployment slot swap";

/// The table. The first row that fits counts.
const ROLLOUTS: &[Rollout] = &[
    row("kubectl apply", Old::Replaced, UNDO),
    row("kubectl set image", Old::Replaced, UNDO),
    tries("kubectl rollout restart", Old::Replaced, UNDO),
    tries("kubectl replace", Old::Part, UNDO),
    tries("kubectl patch", Old::Part, UNDO),
    row("oc apply", Old::Replaced, OC_UNDO),
    row("oc set image", Old::Replaced, OC_UNDO),
    row("oc rollout latest", Old::Replaced, OC_UNDO),
    tries("oc replace", Old::Part, OC_UNDO),
    row("helm upgrade", Old::Replaced, "helm rollback"),
    row("helm install", Old::Part, "helm rollback"),
    row("helmfile apply", Old::Replaced, "helm rollback"),
    row("helmfile sync", Old::Replaced, "helm rollback"),
    row("docker stack deploy", Old::Replaced, "docker service rollback"),
    row("docker service update", Old::Replaced, "docker service rollback"),
    tries("docker compose up", Old::Replaced, ""),
    tries("docker-compose up", Old::Replaced, ""),
    row("nomad job run", Old::Replaced, "nomad job revert"),
    row("nomad run", Old::Replaced, "nomad job revert"),
    tries("kapp deploy", Old::Replaced, ""),
    tries("skaffold run", Old::Replaced, UNDO),
    tries("skaffold deploy", Old::Replaced, UNDO),
    row("argocd app sync", Old::Kept, "argocd app rollback"),
    row("argocd app set", Old::Kept, "argocd app rollback"),
    row("flux reconcile", Old::State, ""),
    row("gcloud run deploy", Old::Kept, TRAFFIC),
    row("gcloud beta run deploy", Old::Kept, TRAFFIC),
    row("gcloud run services update", Old::Kept, TRAFFIC),
    row("gcloud run services replace", Old::Kept, TRAFFIC),
    row("gcloud run services update-traffic", Old::Kept, TRAFFIC),
    row("gcloud app deploy", Old::Kept, "gcloud app services set-traffic"),
    row("gcloud app services set-traffic", Old::Kept, "gcloud app services set-traffic"),
    row("gcloud functions deploy", Old::Kept, ""),
    row("gcloud deploy releases create", Old::Kept, "gcloud deploy targets rollback"),
    row("aws ecs update-service", Old::Kept, ECS),
    row("aws ecs deploy", Old::Kept, ECS),
    row("ecs deploy", Old::Kept, ECS),
    row("ecs-deploy", Old::Kept, ECS),
    row("ecspresso deploy", Old::Kept, "ecspresso rollback"),
    row("aws lambda update-function-code", Old::Kept, "aws lambda update-alias"),
    row("aws lambda update-alias", Old::Kept, "aws lambda update-alias"),
    row("aws elbv2 modify-listener", Old::Kept, "aws elbv2 modify-listener"),
    row("aws elbv2 modify-rule", Old::Kept, "aws elbv2 modify-rule"),
    row("aws apprunner start-deployment", Old::Kept, ""),
    row("aws elasticbeanstalk update-environment", Old::Kept, "aws elasticbeanstalk update-environment"),
    row("eb deploy", Old::Kept, "eb deploy --version"),
    row("aws cloudformation deploy", Old::State, ""),
    row("aws cloudfront create-invalidation", Old::Stays, ""),
    row("az webapp deploy", Old::Kept, SLOT),
    row("az webapp deployment slot swap", Old::Kept, SLOT),
    row("az webapp config container set", Old::Kept, SLOT),
    row("az functionapp deploy", Old::Kept, "az functionapp deployment slot swap"),
    row("az containerapp update", Old::Kept, "az containerapp ingress traffic set"),
    row("az containerapp up", Old::Kept, "az containerapp ingress traffic set"),
    row("az containerapp ingress traffic set", Old::Kept, "az containerapp ingress traffic set"),
    row("fly deploy", Old::Kept, "fly deploy --image"),
    row("flyctl deploy", Old::Kept, "flyctl deploy --image"),
    tries("wrangler deploy", Old::Kept, "wrangler rollback"),
    tries("wrangler publish", Old::Kept, "wrangler rollback"),
    tries("wrangler versions deploy", Old::Kept, "wrangler rollback"),
    tries("vercel deploy", Old::Kept, "vercel rollback"),
    tries("vercel promote", Old::Kept, "vercel rollback"),
    tries("netlify deploy", Old::Kept, ""),
    tries("firebase deploy", Old::Kept, "firebase hosting:clone"),
    row("heroku container:release", Old::Kept, "heroku rollback"),
    row("heroku pipelines:promote", Old::Kept, "heroku rollback"),
    row("git push heroku", Old::Kept, "heroku rollback"),
    row("kamal deploy", Old::Kept, "kamal rollback"),
    row("kamal redeploy", Old::Kept, "kamal rollback"),
    row("cf push", Old::Kept, "cf rollback"),
    row("railway up", Old::Kept, ""),
    row("railway redeploy", Old::Kept, ""),
    row("render deploys create", Old::Kept, ""),
    row("caprover deploy", Old::Kept, ""),
    row("cap ", Old::Kept, "cap deploy:rollback"),
    row("bundle exec cap", Old::Kept, "cap deploy:rollback"),
    row("dep deploy", Old::Kept, "dep rollback"),
    row("mina deploy", Old::Kept, "mina rollback"),
    row("copilot deploy", Old::State, "copilot svc rollback"),
    row("serverless deploy", Old::Kept, "serverless rollback"),
    row("sls deploy", Old::Kept, "sls rollback"),
    row("sam deploy", Old::State, ""),
    row("cdk deploy", Old::State, "cdk rollback"),
    tries("sst deploy", Old::State, ""),
    row("pulumi up", Old::State, ""),
    row("terraform apply", Old::State, ""),
    row("tofu apply", Old::State, ""),
    row("terragrunt apply", Old::State, ""),
    row("ansible-playbook", Old::State, ""),
    tries("vercel", Old::Kept, "vercel rollback"),
    // Actions.
    row("azure/k8s-deploy", Old::Replaced, UNDO),
    row("google-github-actions/deploy-cloudrun", Old::Kept, TRAFFIC),
    row("google-github-actions/deploy-appengine", Old::Kept, "gcloud app services set-traffic"),
    row("google-github-actions/deploy-cloud-functions", Old::Kept, ""),
    row("aws-actions/amazon-ecs-deploy-task-definition", Old::Kept, ECS),
    row("aws-actions/aws-lambda-deploy", Old::Kept, "aws lambda update-alias"),
    row("einaregilsson/beanstalk-deploy", Old::Kept, "aws elasticbeanstalk update-environment"),
    row("azure/webapps-deploy", Old::Kept, SLOT),
    row("azure/functions-action", Old::Kept, "az functionapp deployment slot swap"),
    row("azure/container-apps-deploy-action", Old::Kept, "az containerapp ingress traffic set"),
    row("superfly/flyctl-actions", Old::Kept, "flyctl deploy --image"),
    row("akhileshns/heroku-deploy", Old::Kept, "heroku rollback"),
    tries("cloudflare/wrangler-action", Old::Kept, "wrangler rollback"),
    tries("amondnet/vercel-action", Old::Kept, "vercel rollback"),
];

/// Finds how a new version is brought by a command, without flags in front of what it does, or by an action.
pub(crate) fn rollout(text: &str) -> Option<&'static Rollout> {
    // No two letters are compared where the first ones differ.
    let first = text.as_bytes().first();
    let fits = |row: &&Rollout| {
        row.starts.as_bytes().first() == first
            && text.strip_prefix(row.starts).is_some_and(|rest| {
                rest.is_empty() || row.starts.ends_with(' ') || rest.starts_with(char::is_whitespace)
            })
    };
    ROLLOUTS.iter().find(fits)
}

/// Commands that end when the wish is written down, and not when what they ask for runs.
///
/// Sources: Kubernetes, "Deployments", "Updating a Deployment": the rollout goes on in the background, and
/// `kubectl rollout status` waits for it. `oc` has the same commands.
const ASKS: &[&str] = &[
    "kubectl set image",
    "kubectl rollout restart",
    "oc set image",
    "oc rollout restart",
    "oc rollout latest",
];

/// Tells whether a command, without flags in front of what it does, asks a cluster for a new version and does not wait for it.
pub(crate) fn only_asks(text: &str) -> bool {
    ASKS.iter().any(|start| text.starts_with(start))
}

/// Tells whether a text may have such a command: few have.
pub(crate) fn may_only_ask(text: &str) -> bool {
    static ENDS: LazyLock<Words> =
        LazyLock::new(|| Words::exact(&["set image", "rollout restart", "rollout latest"]));
    ENDS.is_in(text)
}

/// Words of a text that waits until a new version runs on a cluster.
const WAITS: &[&str] = &["rollout status", "kubectl wait", "oc wait", "--wait", "--atomic"];

/// Tells whether a text has a command of a cluster wait until a new version runs.
pub(crate) fn waits(text: &str) -> bool {
    WAITS.iter().any(|word| text.contains(word))
}

/// Tells whether a command goes back to a version that ran before.
pub(crate) fn goes_back(text: &str) -> bool {
    // Some go back by the words with which they go on.
    let back = |row: &&Rollout| !row.back.is_empty() && text.starts_with(row.back) && row.back != row.starts;
    (text.contains("undo") || text.contains("rollback") || text.contains("revert"))
        && ROLLOUTS.iter().any(|row| back(&row))
        || ALSO_BACK.iter().any(|start| text.starts_with(start))
}

/// Other words for the same.
const ALSO_BACK: &[&str] = &[
    "heroku releases:rollback",
    "dokku ps:rollback",
    "gcloud deploy rollback",
    "cap production deploy:rollback",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_of_a_command_tell_how_it_is_taken_back() {
        let back = |text: &str| rollout(text).map(|row| (row.old, row.back));
        assert_eq!(back("kubectl apply -f k8s/"), Some((Old::Replaced, UNDO)));
        assert_eq!(back("gcloud run services update-traffic x --to-latest"), Some((Old::Kept, TRAFFIC)));
        assert_eq!(back("terraform apply"), Some((Old::State, "")));
        assert_eq!(back("helm upgrade-all"), None);
        assert!(goes_back("kubectl rollout undo deploy/x") && goes_back("heroku releases:rollback -a x"));
        assert!(!goes_back("aws ecs update-service --task-definition x") && !goes_back("kubectl apply -f x"));
    }

    #[test]
    fn a_wish_is_told_from_one_that_is_waited_for() {
        assert!(only_asks("kubectl set image deployment/x x=y:1") && !only_asks("kubectl rollout status x"));
        assert!(waits("helm upgrade x . --atomic") && !waits("kubectl rollout restart x"));
    }

    #[test]
    fn no_row_hides_behind_another_one() {
        for (at, row) in ROLLOUTS.iter().enumerate() {
            let found = rollout(row.starts).map(|found| found.starts);
            assert_eq!(found, Some(row.starts), "row {at}");
        }
    }
}
