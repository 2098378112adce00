DROP INDEX `idempotency_keys_by_age`;--> statement-breakpoint
CREATE INDEX `deliveries_by_endpoint_and_type` ON `deliveries` (`tenant_id`,`endpoint_id`,`event_type`,`id`);