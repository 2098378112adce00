CREATE TABLE `tools` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`name` text NOT NULL,
	`description` text NOT NULL,
	`url` text NOT NULL,
	`method` text NOT NULL,
	`headers` text NOT NULL,
	`parameters` text NOT NULL,
	`created_by` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tools_by_name` ON `tools` (`tenant_id`,`name`);--> statement-breakpoint
CREATE TRIGGER `tools_left` AFTER DELETE ON `tools` BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = old.`tenant_id` AND `kind` = 'ultravox' AND instr(`tools`, old.`id`) > 0
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET
		`tools` = (SELECT json_group_array(`value`) FROM json_each(`agents`.`tools`) WHERE `value` <> old.`id`),
		`sync_status` = CASE WHEN `kind` = 'ultravox' THEN 'pending' END,
		`version` = `version` + 1, `updated_at` = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
		WHERE `tenant_id` = old.`tenant_id` AND instr(`tools`, old.`id`) > 0;
END;--> statement-breakpoint
CREATE TRIGGER `tools_changed` AFTER UPDATE OF `name`, `description`, `parameters` ON `tools` BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox' AND instr(`tools`, new.`id`) > 0
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET `sync_status` = 'pending'
		WHERE `tenant_id` = new.`tenant_id` AND `kind` = 'ultravox' AND instr(`tools`, new.`id`) > 0;
END;
