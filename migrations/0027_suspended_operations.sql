-- Operations of a suspended tenant wait. Whoever looks for the next chunk therefore sees the tenants that are suspended, and no
-- other, until it has chosen: from then on the transaction is one tenant's.
CREATE POLICY runner_reads ON tenants FOR SELECT TO mtasts_api
    USING (suspended_at IS NOT NULL AND current_setting('app.runner', true) = 'on');
-- Nor does the worker count them among what is due: it would be an alarm for as long as the suspension lasts.
CREATE POLICY worker_reads ON tenants FOR SELECT TO mtasts_worker
    USING (suspended_at IS NOT NULL AND (SELECT current_user = 'mtasts_worker'));
GRANT SELECT (id, suspended_at) ON tenants TO mtasts_worker;
GRANT SELECT (tenant_id, actor) ON operations TO mtasts_worker;
