DROP INDEX `endpoints_by_application`;--> statement-breakpoint
CREATE INDEX `endpoints_by_application` ON `endpoints` (`tenant_id`,`application_id`,`id`,`event_types`);
