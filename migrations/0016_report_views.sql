-- What the views of reports read. See docs/api/reports.md.

-- Reports in order of the days that they count for.
CREATE INDEX reports_by_domain_day ON reports (domain_id, day, id);
CREATE INDEX reports_by_tenant_day ON reports (tenant_id, day, id);

-- Since when and until when a kind of failure is known over all of a tenant's domains: one step for each.
CREATE INDEX failure_kinds_first ON failure_kinds (tenant_id, result, receiving_mx, first_seen_at);
CREATE INDEX failure_kinds_last ON failure_kinds (tenant_id, result, receiving_mx, last_day);
