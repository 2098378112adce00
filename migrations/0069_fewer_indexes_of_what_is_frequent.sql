DROP INDEX `deliveries_by_endpoint_and_type`;--> statement-breakpoint
DROP INDEX `deliveries_by_type`;--> statement-breakpoint
DROP INDEX `interactions_by_type`;--> statement-breakpoint
CREATE INDEX `interactions_by_type` ON `interactions` (`tenant_id`,`type`,`id`) WHERE type <> 'speech';