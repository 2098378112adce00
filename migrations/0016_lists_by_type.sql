CREATE INDEX `events_by_type` ON `events` (`tenant_id`,`type`,`id`);--> statement-breakpoint
CREATE INDEX `deliveries_by_type` ON `deliveries` (`tenant_id`,`event_type`,`id`);