CREATE TABLE `chat_attachments` (
	`tenant_id` text NOT NULL,
	`chat_id` text NOT NULL,
	`file_id` text NOT NULL,
	`created_by` text,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `chat_id`, `file_id`)
);
--> statement-breakpoint
CREATE INDEX `chat_attachments_by_file` ON `chat_attachments` (`tenant_id`,`file_id`);--> statement-breakpoint
CREATE TABLE `dropped_files` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`upload_id` text,
	`due_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `dropped_files_due` ON `dropped_files` (`due_at`);--> statement-breakpoint
CREATE TABLE `files` (
	`tenant_id` text NOT NULL,
	`id` text NOT NULL,
	`user_id` text,
	`filename` text NOT NULL,
	`content_type` text NOT NULL,
	`size` integer NOT NULL,
	`purpose` text NOT NULL,
	`status` text NOT NULL,
	`upload_id` text,
	`etag` text,
	`expires_at` text,
	`version` integer DEFAULT 1 NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant_id`, `id`)
);
--> statement-breakpoint
CREATE INDEX `files_by_user` ON `files` (`tenant_id`,`user_id`,`id`);--> statement-breakpoint
CREATE INDEX `files_by_purpose` ON `files` (`tenant_id`,`user_id`,`purpose`,`id`);--> statement-breakpoint
CREATE INDEX `files_unfinished` ON `files` (`expires_at`) WHERE expires_at is not null;--> statement-breakpoint
ALTER TABLE `chat_shares` ADD `token_hash` text;--> statement-breakpoint
ALTER TABLE `chat_shares` ADD `token` text;--> statement-breakpoint
CREATE UNIQUE INDEX `chat_shares_by_token` ON `chat_shares` (`token_hash`) WHERE token_hash is not null;--> statement-breakpoint
CREATE TRIGGER `files_bytes_made` AFTER INSERT ON `files` BEGIN
	INSERT INTO `stored_bytes`(`tenant_id`, `bytes`) VALUES (new.`tenant_id`, new.`size`)
		ON CONFLICT(`tenant_id`) DO UPDATE SET `bytes` = `bytes` + excluded.`bytes`;
END;
--> statement-breakpoint
CREATE TRIGGER `files_gone` AFTER DELETE ON `files` BEGIN
	UPDATE `stored_bytes` SET `bytes` = max(0, `bytes` - old.`size`) WHERE `tenant_id` = old.`tenant_id`;
	INSERT OR REPLACE INTO `dropped_files`(`tenant_id`, `id`, `upload_id`, `due_at`)
		VALUES (old.`tenant_id`, old.`id`, old.`upload_id`, coalesce(old.`expires_at`, old.`updated_at`));
END;
