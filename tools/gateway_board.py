"""The Grafana board of a gateway to language models."""

from board_panels import Panel, rate, share

GATEWAY = (
    Panel(
        "Requests by what became of them",
        "reqps",
        ((rate("littoral_gateway_requests_total", "outcome"), "{{outcome}}"),),
    ),
    Panel(
        "Told again",
        "percentunit",
        (
            (
                share(
                    rate("littoral_gateway_requests_total", "tenant", ',outcome=~"hit|semantic"'),
                    rate("littoral_gateway_requests_total", "tenant"),
                ),
                "tenant {{tenant}}",
            ),
        ),
    ),
    Panel("Waited for the same one", "reqps", ((rate("littoral_gateway_joined_total", "tenant"), "{{tenant}}"),)),
    Panel(
        "Asked ahead",
        "reqps",
        (
            (rate("littoral_gateway_asked_ahead_total", "tenant"), "while compared {{tenant}}"),
            (rate("littoral_gateway_given_up_total", "tenant"), "for nothing {{tenant}}"),
            (rate("littoral_gateway_outrun_total", "tenant"), "faster than the remembered answer {{tenant}}"),
        ),
    ),
    Panel(
        "Wrong ones, and how many may be",
        "percentunit",
        (
            ("littoral_gateway_error_share{AT}", "{{of}} {{tenant}}"),
            ("littoral_gateway_error_bound{AT}", "bound {{tenant}}"),
        ),
    ),
    Panel("Alarm", "bool", (("littoral_gateway_alarm{AT}", "{{instance}} {{tenant}}"),)),
    Panel(
        "Questions from elsewhere, in an hour",
        "short",
        (("sum by (instance, tenant) (increase(littoral_gateway_moved_total{AT}[1h]))", "{{instance}} {{tenant}}"),),
    ),
    Panel(
        "Judged",
        "cps",
        (
            (rate("littoral_gateway_judged_total"), "to learn from"),
            (rate("littoral_gateway_audited_total", "verdict"), "at random: {{verdict}}"),
            (rate("littoral_gateway_judge_unsure_total"), "unsure"),
            (rate("littoral_gateway_judge_dropped_total"), "dropped"),
        ),
    ),
    Panel(
        "Nearest remembered question",
        "cps",
        ((rate("littoral_gateway_similarity_total", "from"), "from {{from}}"),),
    ),
    Panel(
        "Tokens a second",
        "short",
        (
            (rate("littoral_gateway_saved_tokens_total"), "saved"),
            (rate("littoral_gateway_spent_tokens_total"), "spent"),
        ),
    ),
    Panel(
        "Money in an hour",
        "short",
        (
            ("sum(increase(littoral_gateway_saved_money_total{AT}[1h]))", "saved"),
            ("sum(increase(littoral_gateway_spent_money_total{AT}[1h]))", "spent"),
        ),
    ),
    Panel(
        "Services: requests",
        "reqps",
        (
            (rate("littoral_gateway_upstream_requests_total", "upstream"), "{{upstream}}"),
            (rate("littoral_gateway_upstream_failures_total", "upstream"), "failed, {{upstream}}"),
            (rate("littoral_gateway_upstream_retries_total", "upstream"), "tried again, {{upstream}}"),
        ),
    ),
    Panel(
        "Services: mean time",
        "s",
        (
            (
                share(
                    rate("littoral_gateway_upstream_seconds_total", "upstream"),
                    rate("littoral_gateway_upstream_requests_total", "upstream"),
                ),
                "{{upstream}}",
            ),
            (
                share(
                    rate("littoral_gateway_upstream_first_token_seconds_total", "upstream"),
                    rate("littoral_gateway_upstream_streams_total", "upstream"),
                ),
                "first token, {{upstream}}",
            ),
        ),
    ),
    Panel(
        "Services that are not asked",
        "bool",
        (('littoral_gateway_upstream_state{AT,state="open"}', "{{upstream}}"),),
    ),
    Panel(
        "Budgets: used",
        "percentunit",
        (
            (
                share("littoral_gateway_budget_used{AT}", "littoral_gateway_budget_limit{AT}"),
                "{{tenant}} {{what}} in {{window}} s",
            ),
        ),
    ),
    Panel(
        "Budgets: refused",
        "reqps",
        ((rate("littoral_gateway_budget_refused_total", "tenant, what"), "{{tenant}} {{what}}"),),
    ),
    Panel("Remembered answers", "short", (("littoral_gateway_entries{AT}", "{{instance}} {{tenant}}"),)),
    Panel("Their bytes", "bytes", (("littoral_gateway_entries_bytes{AT}", "{{instance}} {{tenant}}"),)),
    Panel(
        "Evicted, expired",
        "cps",
        (
            (rate("littoral_gateway_evictions_total", "tenant"), "evicted {{tenant}}"),
            (rate("littoral_gateway_expired_total", "tenant"), "expired {{tenant}}"),
        ),
    ),
    Panel("Near misses for people", "short", (("littoral_gateway_misses_waiting{AT}", "{{tenant}}"),)),
)
