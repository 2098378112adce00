CREATE TABLE `agent_syncs` (
	`tenant_id` text NOT NULL,
	`agent_id` text NOT NULL,
	`removed` text,
	`asked` integer DEFAULT 1 NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`claim` text,
	`due_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `agent_id`)
);
--> statement-breakpoint
CREATE INDEX `agent_syncs_due` ON `agent_syncs` (`due_at`);--> statement-breakpoint
ALTER TABLE `agents` ADD `voice_id` text;--> statement-breakpoint
ALTER TABLE `agents` ADD `language` text;--> statement-breakpoint
ALTER TABLE `agents` ADD `greeting` text;--> statement-breakpoint
ALTER TABLE `agents` ADD `tools` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `agents` ADD `knowledge_base_ids` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `agents` ADD `provider_agent_id` text;--> statement-breakpoint
ALTER TABLE `agents` ADD `sync_status` text;--> statement-breakpoint
ALTER TABLE `agents` ADD `sync_error` text;--> statement-breakpoint
CREATE TRIGGER `knowledge_bases_left` AFTER DELETE ON `knowledge_bases` BEGIN
	INSERT INTO `agent_syncs`(`tenant_id`, `agent_id`, `due_at`)
		SELECT `tenant_id`, `id`, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM `agents`
		WHERE `tenant_id` = old.`tenant_id` AND `kind` = 'ultravox' AND instr(`knowledge_base_ids`, old.`id`) > 0
		ON CONFLICT (`tenant_id`, `agent_id`) DO UPDATE SET `asked` = `asked` + 1, `attempts` = 0,
			`due_at` = CASE WHEN `claim` IS NULL THEN excluded.`due_at` ELSE `due_at` END;
	UPDATE `agents` SET
		`knowledge_base_ids` = (SELECT json_group_array(`value`) FROM json_each(`agents`.`knowledge_base_ids`) WHERE `value` <> old.`id`),
		`sync_status` = CASE WHEN `kind` = 'ultravox' THEN 'pending' END,
		`version` = `version` + 1, `updated_at` = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
		WHERE `tenant_id` = old.`tenant_id` AND instr(`knowledge_base_ids`, old.`id`) > 0;
END;
