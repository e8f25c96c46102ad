"""What tries each row of ARCHITECTURE.md's table "What failure means": failures of `loadtest.faults`, and tests where a
failure needs something else than chaos's rig (an Elasticsearch, a start, a Corefile of another kind)."""

from loadtest.stats import table

# By the row's first cell: names of failures, and `FILE::TEST` (Go tests by their folder).
TRIED: dict[str, tuple[str, ...]] = {
    "cluster slow, down, full, wrong token, malformed answer": (
        "wire refused", "wire silent (half-open)", "wire reset", "replies slow (2 s)", "replies cut", "replies corrupt",
        "no verdicts in the reply", "score out of range", "token refused", "cluster full (503)", "cluster killed",
        "cluster frozen", "HAProxy killed", "flood of new names",
        "plugin/verdict/cluster_test.go::TestALateVerdictFillsTheCache",
        "plugin/verdict/cluster_test.go::TestOneProbeAtATime",
        "plugin/verdict/handler_test.go::TestWithoutAVerdict",
    ),
    "a replica of any deployment dies": (
        "classifier killed", "preprocessor killed", "one ingress killed", "every ingress killed", "log killed",
        "log killed again", "Serve controller killed", "CoreDNS killed", "CoreDNS reloads",
    ),
    "a preprocessor or classifier is silent": ("classifier frozen", "preprocessor frozen"),
    "Elasticsearch down, read-only, rejecting, slow": (
        "store locked", "log frozen", "disk full",
        "tests/test_store_faults.py::test_a_frozen_server_costs_time_and_no_row",
        "tests/test_store_faults.py::test_a_killed_server_comes_back_with_every_row_it_took",
        "tests/test_store_faults.py::test_an_index_that_is_read_only_is_waited_for",
        "tests/test_store_faults.py::test_a_bulk_of_mixed_answers_ends_with_every_row_once",
        "tests/test_routes.py::test_a_full_spool_is_503_with_retry_after",
    ),
    "store down at start": (
        "tests/test_routes.py::test_a_restart_while_the_store_is_away_decides_by_the_snapshot_and_says_so",
        "tests/test_control.py::test_a_store_that_is_away_refuses_changes_with_503",
    ),
    "hostile name (markup, control bytes, formula)": (
        "hostile names",
        "tests/test_store.py::test_a_hostile_name_is_data",
        "tests/e2e/test_dashboard_looks.py::test_hostile_text_is_text_on_every_page",
        "tests/test_dashboard_export.py::test_no_text_becomes_a_formula",
    ),
    "bad Corefile, settings, artifact or list file": (
        "bad Corefile at a reload",
        "plugin/verdict/setup_test.go::TestParse",
        "tests/test_settings.py::test_a_bad_setting_is_named_with_what_was_expected",
        "tests/test_model_artifact.py::test_a_changed_network_is_refused",
        "tests/test_list_formats.py::test_a_bad_row_says_what_was_expected",
    ),
}  # fmt: skip


def tried() -> str:
    """The rows with what tries them, as a table."""
    return table([
        {"what fails": row, "tried by": ", ".join(f"`{what}`" if "::" in what else what for what in by)}
        for row, by in TRIED.items()
    ])  # fmt: skip
