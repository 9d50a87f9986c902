"""The benchmark: suites, judge, scores, reports."""
