"""A comparison as one page that opens anywhere: `moeplan.report.build.report_of` makes it."""
