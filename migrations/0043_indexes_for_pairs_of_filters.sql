ALTER TABLE `chat_tags` ADD `agent_id` text DEFAULT '' NOT NULL;--> statement-breakpoint
CREATE INDEX `chat_tags_with_agent` ON `chat_tags` (`tenant_id`,`user_id`,`tag`,`agent_id`,`is_archived`,`last_activity_at`,`chat_id`);--> statement-breakpoint
ALTER TABLE `event_channels` ADD `type` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `event_channels` ADD `unlike` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `event_channels_by_type` ON `event_channels` (`tenant_id`,`channel`,`type`,`event_id`);--> statement-breakpoint
CREATE INDEX `event_channels_unlike` ON `event_channels` (`tenant_id`,`channel`,`event_id`) WHERE unlike = 1;--> statement-breakpoint
CREATE INDEX `event_channels_unlike_by_type` ON `event_channels` (`tenant_id`,`channel`,`type`,`event_id`) WHERE unlike = 1;--> statement-breakpoint
CREATE INDEX `chats_of_user_with_agent` ON `chats` (`tenant_id`,`user_id`,`agent_id`,`is_archived`,`last_activity_at`,`id`);--> statement-breakpoint
CREATE INDEX `events_unlike_their_schema_by_type` ON `events` (`tenant_id`,`type`,`id`) WHERE schema_error is not null;--> statement-breakpoint
CREATE INDEX `jobs_by_kind_and_status` ON `jobs` (`tenant_id`,`kind`,`status`,`id`);--> statement-breakpoint
CREATE INDEX `deliveries_stuck_by_endpoint` ON `deliveries` (`tenant_id`,`status`,`endpoint_id`,`id`) WHERE status in ('failed', 'exhausted', 'held', 'cancelled');--> statement-breakpoint
CREATE INDEX `deliveries_stuck_by_type` ON `deliveries` (`tenant_id`,`status`,`event_type`,`id`) WHERE status in ('failed', 'exhausted', 'held', 'cancelled');--> statement-breakpoint
CREATE INDEX `deliveries_stuck_by_endpoint_and_type` ON `deliveries` (`tenant_id`,`status`,`endpoint_id`,`event_type`,`id`) WHERE status in ('failed', 'exhausted', 'held', 'cancelled');--> statement-breakpoint
DROP TRIGGER `chats_tagged`;
--> statement-breakpoint
CREATE TRIGGER `chats_tagged` AFTER INSERT ON `chats` WHEN new.`tags` <> '[]' BEGIN
	INSERT OR IGNORE INTO `chat_tags`(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`, `agent_id`)
		SELECT new.`tenant_id`, new.`user_id`, `value`, new.`is_archived`, new.`last_activity_at`, new.`id`, new.`agent_id`
		FROM json_each(new.`tags`);
END;
--> statement-breakpoint
DROP TRIGGER `chats_retagged`;
--> statement-breakpoint
CREATE TRIGGER `chats_retagged` AFTER UPDATE OF `tags`, `user_id`, `agent_id`, `is_archived`, `last_activity_at` ON `chats`
WHEN (old.`tags` <> '[]' OR new.`tags` <> '[]') AND (old.`tags` <> new.`tags` OR old.`user_id` <> new.`user_id`
	OR old.`agent_id` <> new.`agent_id` OR old.`is_archived` <> new.`is_archived`
	OR old.`last_activity_at` <> new.`last_activity_at`) BEGIN
	DELETE FROM `chat_tags` WHERE `tenant_id` = old.`tenant_id` AND `user_id` = old.`user_id`
		AND `tag` IN (SELECT `value` FROM json_each(old.`tags`)) AND `is_archived` = old.`is_archived`
		AND `last_activity_at` = old.`last_activity_at` AND `chat_id` = old.`id`;
	INSERT OR IGNORE INTO `chat_tags`(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`, `agent_id`)
		SELECT new.`tenant_id`, new.`user_id`, `value`, new.`is_archived`, new.`last_activity_at`, new.`id`, new.`agent_id`
		FROM json_each(new.`tags`);
END;
--> statement-breakpoint
UPDATE `chat_tags` SET `agent_id` = coalesce((SELECT c.`agent_id` FROM `chats` AS c
	WHERE c.`tenant_id` = `chat_tags`.`tenant_id` AND c.`id` = `chat_tags`.`chat_id`), '');
--> statement-breakpoint
DROP TRIGGER `events_on_channels`;
--> statement-breakpoint
CREATE TRIGGER `events_on_channels` AFTER INSERT ON `events` WHEN new.`channels` <> '[]' BEGIN
	INSERT OR IGNORE INTO `event_channels`(`tenant_id`, `channel`, `event_id`, `type`, `unlike`)
		SELECT new.`tenant_id`, `value`, new.`id`, new.`type`, new.`schema_error` IS NOT NULL FROM json_each(new.`channels`);
END;
--> statement-breakpoint
UPDATE `event_channels` SET (`type`, `unlike`) = (SELECT e.`type`, e.`schema_error` IS NOT NULL FROM `events` AS e
	WHERE e.`tenant_id` = `event_channels`.`tenant_id` AND e.`id` = `event_channels`.`event_id`)
WHERE EXISTS (SELECT 1 FROM `events` AS e WHERE e.`tenant_id` = `event_channels`.`tenant_id` AND e.`id` = `event_channels`.`event_id`);
