CREATE TABLE `chat_tags` (
	`tenant_id` text NOT NULL,
	`user_id` text NOT NULL,
	`tag` text NOT NULL,
	`is_archived` integer NOT NULL,
	`last_activity_at` text NOT NULL,
	`chat_id` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`)
);
--> statement-breakpoint
DROP INDEX `chats_by_activity`;--> statement-breakpoint
CREATE INDEX `chats_by_activity` ON `chats` (`tenant_id`,`user_id`,`is_archived`,`last_activity_at`,`id`);
--> statement-breakpoint
CREATE TRIGGER `chats_tagged` AFTER INSERT ON `chats` WHEN new.`tags` <> '[]' BEGIN
	INSERT OR IGNORE INTO `chat_tags`(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`)
		SELECT new.`tenant_id`, new.`user_id`, `value`, new.`is_archived`, new.`last_activity_at`, new.`id` FROM json_each(new.`tags`);
END;
--> statement-breakpoint
CREATE TRIGGER `chats_retagged` AFTER UPDATE OF `tags`, `user_id`, `is_archived`, `last_activity_at` ON `chats`
WHEN (old.`tags` <> '[]' OR new.`tags` <> '[]') AND (old.`tags` <> new.`tags` OR old.`user_id` <> new.`user_id`
	OR old.`is_archived` <> new.`is_archived` OR old.`last_activity_at` <> new.`last_activity_at`) BEGIN
	DELETE FROM `chat_tags` WHERE `tenant_id` = old.`tenant_id` AND `user_id` = old.`user_id`
		AND `tag` IN (SELECT `value` FROM json_each(old.`tags`)) AND `is_archived` = old.`is_archived`
		AND `last_activity_at` = old.`last_activity_at` AND `chat_id` = old.`id`;
	INSERT OR IGNORE INTO `chat_tags`(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`)
		SELECT new.`tenant_id`, new.`user_id`, `value`, new.`is_archived`, new.`last_activity_at`, new.`id` FROM json_each(new.`tags`);
END;
--> statement-breakpoint
CREATE TRIGGER `chats_untagged` AFTER DELETE ON `chats` WHEN old.`tags` <> '[]' BEGIN
	DELETE FROM `chat_tags` WHERE `tenant_id` = old.`tenant_id` AND `user_id` = old.`user_id`
		AND `tag` IN (SELECT `value` FROM json_each(old.`tags`)) AND `is_archived` = old.`is_archived`
		AND `last_activity_at` = old.`last_activity_at` AND `chat_id` = old.`id`;
END;
--> statement-breakpoint
INSERT OR IGNORE INTO `chat_tags`(`tenant_id`, `user_id`, `tag`, `is_archived`, `last_activity_at`, `chat_id`)
SELECT c.`tenant_id`, c.`user_id`, t.`value`, c.`is_archived`, c.`last_activity_at`, c.`id` FROM `chats` AS c, json_each(c.`tags`) AS t;
