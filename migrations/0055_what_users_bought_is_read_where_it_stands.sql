DROP TABLE `user_consumed`;--> statement-breakpoint
CREATE INDEX `interactions_consumed` ON `interactions` (`tenant_id`,`user_id`,`item_id`) WHERE type in ('purchase', 'rating');--> statement-breakpoint
CREATE INDEX `interactions_removed_by_user` ON `interactions_removed` (`tenant_id`,`user_id`,`seq`) WHERE user_id is not null;