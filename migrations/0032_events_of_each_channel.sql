CREATE TABLE `event_channels` (
	`tenant_id` text NOT NULL,
	`channel` text NOT NULL,
	`event_id` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `channel`, `event_id`)
);

--> statement-breakpoint
CREATE TRIGGER `events_on_channels` AFTER INSERT ON `events` WHEN new.`channels` <> '[]' BEGIN
	INSERT OR IGNORE INTO `event_channels`(`tenant_id`, `channel`, `event_id`)
		SELECT new.`tenant_id`, `value`, new.`id` FROM json_each(new.`channels`);
END;
--> statement-breakpoint
CREATE TRIGGER `events_off_channels` AFTER DELETE ON `events` WHEN old.`channels` <> '[]' BEGIN
	DELETE FROM `event_channels` WHERE `tenant_id` = old.`tenant_id`
		AND `channel` IN (SELECT `value` FROM json_each(old.`channels`)) AND `event_id` = old.`id`;
END;
--> statement-breakpoint
INSERT OR IGNORE INTO `event_channels`(`tenant_id`, `channel`, `event_id`)
SELECT e.`tenant_id`, c.`value`, e.`id` FROM `events` AS e, json_each(e.`channels`) AS c;
