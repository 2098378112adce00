ALTER TABLE `deliveries` ADD `order_key` text;--> statement-breakpoint
ALTER TABLE `deliveries` ADD `seq` integer;--> statement-breakpoint
CREATE INDEX `deliveries_held` ON `deliveries` (`tenant_id`,`endpoint_id`,`id`) WHERE status = 'held';--> statement-breakpoint
CREATE INDEX `deliveries_in_order` ON `deliveries` (`tenant_id`,`endpoint_id`,`order_key`,`seq`) WHERE order_key is not null and status in ('pending', 'held');--> statement-breakpoint
CREATE INDEX `endpoints_degraded` ON `endpoints` (`not_before`) WHERE status = 'degraded';